"""The show: two agents, one executor, two cut connections, nothing lost and nothing run twice."""
