"""Programs on the trio adapter: command line, rendezvous server, exec-server."""
