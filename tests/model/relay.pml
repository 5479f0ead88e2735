/* One stream between a harness (H, the opener) and an executor (E, the acceptor): the rules of the
 * protocol as built. docs/model.md says what is modelled and what is left out; tests/model/runs.txt
 * lists the runs. One message is one segment; a set of sequence numbers is a bit mask, bit s-1 for
 * number s.
 *
 * Every transition is one call into an end followed by a full drain, as the contract of
 * RelayConnection asks. So what is owed (answers, questions, acks) lives only within a transition.
 *
 * Bounds      NH NE messages of H, of E (up to 3)    W  window in segments
 *             CRASHH CRASHE CUTH CUTE  crashes of a process, cuts of its link
 *             APPRST  resets by an application        FORGET  ended ids that expire
 *             TIMEOUTS  streams given up              CAP  frames in the network, per direction;
 *             an assertion says that it is not reached
 * Network     default: it keeps every distinct frame ever sent and may deliver it any number of
 *             times, in any order, to whatever process is at the other end. That is loss,
 *             repetition, reordering, and holding across cuts and crashes, all in one.
 *             ROUTER: a rendezvous with links that are queues; only with LIVE. RESTARTS LOSS GRACE
 *             bound its faults; FOREIGN: one that never suspends a route; BASIC: the successor of a
 *             crashed executor is a basic one.
 * Features    GAP  loss is also seen in acks (reorder_threshold 1)    CLOSE  graceful closes
 *             EAGER  acks, heartbeats and repeated questions enter the network as soon as they may:
 *                    with a network that keeps frames this adds behaviour and removes states
 *             NETRST  resets made by the network            EARLY  early_data
 *             STALE  a reset for data without its opening is no fault that may end a stream
 *             RENEGE  a cut makes E forget what came out of order (bits are no promise)
 *             LIVE  timers wait until nothing else can happen; then everything has to end well
 *             TRACE  random walks, printed for tools/model_conform.py
 * M_*         one rule broken; see runs.txt
 */
#ifndef NH
#define NH 2
#endif
#ifndef NE
#define NE 1
#endif
#ifndef W
#define W 3
#endif
#ifndef CAP
#define CAP 32
#endif
#ifndef CRASHH
#define CRASHH 0
#endif
#ifndef CRASHE
#define CRASHE 0
#endif
#ifndef CUTH
#define CUTH 0
#endif
#ifndef CUTE
#define CUTE 0
#endif
#ifndef APPRST
#define APPRST 0
#endif
#ifndef FORGET
#define FORGET 0
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0
#endif
#ifndef NETRST
#define NETRST 0
#endif
#ifndef RESTARTS
#define RESTARTS 0
#endif
#ifndef LOSS
#define LOSS 0
#endif
#ifndef GRACE
#define GRACE 0
#endif
#ifndef CLOSE
#define CLOSE 0
#endif
#ifndef STEPS
#define STEPS 60  /* TRACE: steps of one trace */
#endif
#ifndef TRACES
#define TRACES 1
#endif
#ifndef TRIES
#define TRIES 5   /* LIVE: unanswered questions and heartbeats that make a resume_timeout */
#endif
#ifdef EARLY
#define DELIVERS_EARLY 1
#else
#define DELIVERS_EARLY 0
#endif
#if defined(GAP) || defined(TRACE)
#define ORDER
#endif

#define H 0
#define E 1

/* states of a stream at one end; FOREIGNER: a basic executor, which runs whatever comes */
#define NONE 0
#define OPENING 1
#define UNCONFIRMED 2
#define OPEN 3
#define RESUMING 4
#define ENDED 5
#define FOREIGNER 6

#define DATA 1
#define ACK 2
#define RESUME 3
#define RESET 4
#define BEAT 5

#define UNKNOWN_STREAM 1
#define CANCELLED 2
#define PEER_RESTARTED 3
#define TIMEOUT 4
#define CLOSED 5
#define UNAVAILABLE 6
#define DISCONNECTED 7

/* what may happen next */
#define A_DELIVER 1
#define A_SEND 2
#define A_CONSUME 3
#define A_UP 4
#define A_CUT 5
#define A_CRASH 6
#define A_ACKDELAY 7
#define A_RTO 8
#define A_QUESTION 9
#define A_HEARTBEAT 10
#define A_TIMEOUT 11
#define A_PENDING 12
#define A_FORGET 13
#define A_RESET 14
#define A_CLOSE 15
#define A_NETRST 16
#define A_RESTART 17
#define A_LOSE 18
#define A_GRACE 19
#define A_REUSE 20

/* sets of sequence numbers */
#define ONE(s) (1 << ((s) - 1))
#define UPTO(s) ((1 << (s)) - 1)
#define PREFIX(m) (((m) & 1) == 0 -> 0 : (((m) & 2) == 0 -> 1 : (((m) & 4) == 0 -> 2 : 3)))
#define TOP(m) (((m) & 4) -> 3 : (((m) & 2) -> 2 : ((m) & 1)))

/* -- the two ends */
byte st[2], own[2], peer[2];
bit up[2], announced, lost_while_unknown, asking[2], fresh[2], closing[2];
byte queued[2], una[2], nxt[2], reported[2], lost[2], before[2];  /* before: sent before the question */
byte got[2], consumed[2];
bit ack_timer[2], unsaid[2], missed[2], beat_unanswered[2], awaits[2];
byte early;                                          /* E: data whose opening has not come */
byte why[2], last_ack[2], last_bits[2];              /* the reset of an ended id */
bit reset_owed[2], reset_sent[2];
byte accepted;                                       /* incarnations that executors have given out */
#ifdef ORDER
byte later[6], overtaken[2], noted[2];               /* later[3e+s-1]: sent after s was last sent */
#endif
#ifdef LIVE
byte tries[2];
#endif

/* -- what is left of each kind of fault */
byte crashes[2], cuts[2], resets_left = APPRST, forgets = FORGET, timeouts = TIMEOUTS,
     netrsts = NETRST, restarts = RESTARTS, losses = LOSS, graces = GRACE, closes = CLOSE;

/* -- the network: net[d*CAP ...] holds frames on their way to end d */
int net[2 * CAP];
byte n_net[2];
#ifdef ROUTER
byte route;                       /* 0 none, 1 open, 2 suspended, 3 ended and remembered */
byte route_why;
bit route_harness, route_relH, route_relE;
#endif

/* -- ghosts: what really happened, which no rule looks at */
byte g_run;                       /* messages of H that executors have run */
byte g_runner;                    /* the incarnation that ran them */
byte g_named;                     /* incarnations of E that the living harness has named */
byte g_from;                      /* the incarnation whose messages H's application has read */
byte g_done[2];                   /* messages that the application at an end has taken over */
byte g_sent[2], g_strange[2];     /* numbers sent; numbers received from another than the peer */
bit g_over[2], g_fault, g_begun;
#ifdef M_REUSE
bit g_reused;                     /* the opener has used the id a second time */
byte g_early;                     /* of early: what the first use sent */
#endif
#ifdef LIVE
bit g_crashed;
#endif

/* -- scratch: 0 between transitions */
byte x, act, i, m, fk, fa, fo, fp, fack, fbits, rack, rbits, s, before_rn, after_rn, d;
bit fans, old, ok, answered, first, owes_answer, owes_question, owes_unknown, ack_due, beat_owed,
    had_gap, measures, taken;
int code;
#ifdef TRACE
/* what a driver with one clock per end can bring about; see docs/model.md */
bit sampled[2], slow, impatient, patient;
byte aged[2], once[2], jumps[2];
byte unseen[2];                   /* the network, oldest first: the first frame not delivered yet */
int steps, calm, traces = 1;
#endif

#define ALIVE(e) (st[e] >= OPENING && st[e] <= RESUMING)
#define CONFIRMED(e) (st[e] == OPEN || st[e] == RESUMING)
#define DELIVERED(e) \
    ((CONFIRMED(e) || (DELIVERS_EARLY && st[e] == UNCONFIRMED)) -> PREFIX(got[e]) : 0)
#define MAY_TALK(e) (CONFIRMED(e) && !fresh[e])
#define SENT(e) (UPTO(nxt[e] - 1) & ~UPTO(una[e] - 1))
#define MESSAGES(e) ((e == H) * NH + (e == E) * NE)
#define UNACKED(e) (una[e] < nxt[e])
/* data that denies what was acknowledged: a late copy, or of a basic executor in the place of ours */
#define DENIES (x == H && fk == DATA && !fack && !fbits && una[x] > 1)
#define SENDABLE(e) \
    ((st[e] == OPEN && (lost[e] || (nxt[e] <= queued[e] && nxt[e] - una[e] < W))) || \
     (st[e] == OPENING && announced && !lost_while_unknown && nxt[e] <= queued[e]))
#define WAITING(e) \
    (ALIVE(e) && (asking[e] || UNACKED(e) || beat_unanswered[e] || !up[e]))

#if defined(TRACE) || defined(ROUTER)
#define STEP atomic               /* spin limits the length of a d_step */
#else
#define STEP d_step
#endif
#ifdef TRACE
#define SAY(text, a, b, c) printf(text, a, b, c)
#else
#define SAY(text, a, b, c) skip
#endif

/* ------------------------------------------------------------------ the network */

inline pack(pk_, pa_, po_, pp_, pack_, pbits_, pans_) {
  code = (pk_) | ((pa_) << 3) | ((po_) << 6) | ((pp_) << 9) | ((pack_) << 12) | ((pbits_) << 14) |
         ((pans_) << 17)
}

inline unpack() {
  fk = code & 7; fa = (code >> 3) & 7; fo = (code >> 6) & 7; fp = (code >> 9) & 7;
  fack = (code >> 12) & 3; fbits = (code >> 14) & 7; fans = (code >> 17) & 1
}

/* a frame joins those on their way to end d */
inline enqueue() {
#if defined(ROUTER)
  assert(n_net[d] < CAP);
  net[d * CAP + n_net[d]] = code; n_net[d]++
#elif defined(TRACE)
  i = 0;
  do
  :: i < n_net[d] && net[d * CAP + i] != code -> i++
  :: else -> break
  od;
  if
  :: i == n_net[d] -> assert(n_net[d] < CAP); n_net[d]++
  :: else ->                                 /* sent again: now it is the newest */
       if :: i < unseen[d] -> unseen[d]-- :: else fi;
       do
       :: i + 1 < n_net[d] -> net[d * CAP + i] = net[d * CAP + i + 1]; i++
       :: else -> break
       od
  fi;
  net[d * CAP + i] = code
#else
  i = 0;                                     /* sorted: one network, one state */
  do
  :: i < n_net[d] && net[d * CAP + i] < code -> i++
  :: else -> break
  od;
  if
  :: i < n_net[d] && net[d * CAP + i] == code
  :: else ->
       assert(n_net[d] < CAP);
       m = n_net[d];
       do
       :: m > i -> net[d * CAP + m] = net[d * CAP + m - 1]; m--
       :: else -> break
       od;
       net[d * CAP + i] = code; n_net[d]++
  fi;
  m = 0
#endif
}

#ifdef ROUTER
inline take_first() {
  code = net[d * CAP];
  i = 0;
  do
  :: i + 1 < n_net[d] -> net[d * CAP + i] = net[d * CAP + i + 1]; i++
  :: else -> break
  od;
  n_net[d]--; net[d * CAP + n_net[d]] = 0
}

inline flush(d_) {
  do
  :: n_net[d_] > 0 -> n_net[d_]--; net[(d_) * CAP + n_net[d_]] = 0
  :: else -> break
  od
}

/* the route ends for this reason, which is remembered */
inline remember(reason_) {
  no_route();
#ifndef M_ROUTEFORGOTTEN
  route = 3; route_why = reason_
#endif
}

inline no_route() { route = 0; route_why = 0; route_harness = 0; route_relH = 0; route_relE = 0 }

/* the rendezvous ends the route and tells the sides that are there */
inline end_route(reason_) {
  g_fault = 1;                               /* the rendezvous may end what is not proven reliable */
  pack(RESET, reason_, 0, 0, 0, 0, 0);
  if :: up[E] -> d = E; enqueue() :: else fi;
  if :: route_harness -> d = H; enqueue() :: else fi;
  remember(reason_)
}

/* end x sends: the rendezvous passes the frame on, or does not */
inline transmit() {
  unpack();
  taken = 0;
  if
  :: route == 3 ->
       if
       :: fk == RESUME || (fk == DATA && x == H) ->
            pack(RESET, route_why, 0, 0, 0, 0, 0); d = x; enqueue()
       :: else
       fi
  :: route != 3 && x == H ->
       if
       :: route == 0 && (fk == RESUME || fk == DATA) ->
            if
            :: !up[E] && !(fk == RESUME && (fp || fa >= 2)) ->
                 g_fault = 1; pack(RESET, UNAVAILABLE, 0, 0, 0, 0, 0); d = H; enqueue()
            :: else ->
                 route_harness = 1;
                 if
#ifndef FOREIGN
                 :: fk == RESUME && (fp || fa >= 2) -> route = 2; route_relH = 1; route_relE = 1
#endif
                 :: else -> route = 1
                 fi;
                 taken = up[E]
            fi
       :: route == 0 && fk == RESET ->       /* it had its route elsewhere */
#ifdef M_UNROUTEDRESET
            skip
#else
            taken = up[E]; remember(fa)
#endif
       :: route == 0 && (fk == ACK || fk == BEAT) -> skip
       :: route != 0 ->
            route_harness = 1;
            taken = up[E] && (route == 1 || fk == RESUME || fk == RESET)
       fi;
       if :: taken && fk == RESUME -> route_relH = 1 :: else fi
  :: route != 3 && x == E ->
       if
       :: route == 0 -> skip
       :: else ->
            if :: route == 2 && fk == RESUME -> route = 1 :: else fi;
            taken = route_harness && (route == 1 || fk == RESET)
       fi;
       if :: taken && fk == RESUME -> route_relE = 1 :: else fi
  fi;
  if
  :: taken ->
       d = 1 - x; enqueue();
       if
       :: fk == RESET && (x == H || route_relE || fa != UNKNOWN_STREAM) ->
            remember(fa)
       :: fk == RESET && !(x == H || route_relE || fa != UNKNOWN_STREAM) -> no_route()
       :: else
       fi
  :: else
  fi;
  m = 0
}

/* the rendezvous loses the link of end x */
inline link_lost() {
#ifdef M_QUEUEKEPT
  if :: x == H -> flush(H) :: else fi;
#else
  flush(x);
#endif
  if
  :: route == 0 || route == 3 -> skip
  :: (route == 1 || route == 2) && x == H ->
       route_harness = 0;
       if :: !(route_relH && route_relE) -> end_route(DISCONNECTED) :: else fi
  :: (route == 1 || route == 2) && x == E ->
       if
#ifndef FOREIGN
       :: route_relE -> route = 2
#else
       :: route_relE -> skip
#endif
       :: else -> end_route(UNAVAILABLE)
       fi
  fi
}
#endif

inline out(k_, a_, o_, p_, ack_, bits_, ans_) {
#ifdef TRACE
  printf("> %d %d %d %d", k_, a_, o_, p_);
  printf(" %d %d %d\n", ack_, bits_, ans_);
#endif
  pack(k_, a_, o_, p_, ack_, bits_, ans_);
#ifdef ROUTER
  transmit()
#else
  d = 1 - x; enqueue()
#endif
}

/* ------------------------------------------------------------------ what an end sends */

/* the ack fields that ride on every frame */
inline report() {
#if defined(M_ACKHELD)
  rack = PREFIX(got[x]);
#else
  rack = consumed[x];
#endif
  rbits = got[x] >> rack;
  ack_due = 0; ack_timer[x] = 0; unsaid[x] = 0; missed[x] = 0
}

inline ask() {
  if :: !asking[x] -> asking[x] = 1; before[x] = SENT(x) :: else fi;
#ifdef M_GATE
  if :: st[x] == OPEN -> lost[x] = SENT(x) :: else fi;
#else
  if :: st[x] == OPEN -> st[x] = RESUMING :: else fi;
#endif
  owes_question = 1
}

inline ack_now() {
  if :: MAY_TALK(x) -> ack_due = 1; ack_timer[x] = 0 :: else -> missed[x] = !ack_due fi
}

inline want_ack() {
  if :: !ack_due -> ack_timer[x] = 1 :: else fi
}

inline send_one() {
  if
  :: lost[x] -> s = (lost[x] & 1 -> 1 : (lost[x] & 2 -> 2 : 3)); lost[x] = lost[x] & ~ONE(s)
  :: else -> s = nxt[x]; nxt[x]++
  fi;
  before[x] = before[x] & ~ONE(s);
#ifdef ORDER
#ifdef TRACE
  if :: g_sent[x] & ONE(s) -> once[x] = once[x] & ~ONE(s) :: else -> once[x] = once[x] | ONE(s) fi;
  aged[x] = aged[x] & ~ONE(s);
#endif
  m = 0;
  do
  :: m < 3 -> later[3 * x + m] = later[3 * x + m] | ONE(s); m++
  :: else -> break
  od;
  later[3 * x + s - 1] = 0; m = 0;
  overtaken[x] = overtaken[x] & ~ONE(s); noted[x] = noted[x] & ~ONE(s);
#endif
  g_sent[x] = g_sent[x] | ONE(s);
  if
  :: st[x] == OPENING -> rack = 0; rbits = 0
  :: else -> report()
  fi;
  out(DATA, s, own[x], 0, rack, rbits, 0)
}

/* everything that may go out, in the order of the core: resets, answers, questions, heartbeats,
   acks that no data carries, data */
inline drain() {
  if
  :: up[x] ->
       if :: owes_unknown -> out(RESET, UNKNOWN_STREAM, 0, 0, 0, 0, 0) :: else fi;
       if
       :: reset_owed[x] ->
            reset_owed[x] = 0; reset_sent[x] = 1;
            out(RESET, why[x], 0, 0, last_ack[x], last_bits[x], 0)
       :: else
       fi;
       if
       :: owes_answer && ALIVE(x) ->
            report(); if :: x == H -> g_named = g_named | (1 << peer[x]) :: else fi;
            out(RESUME, nxt[x], own[x], peer[x], rack, rbits, 1)
       :: else
       fi;
       if
       :: owes_question && st[x] == OPENING ->
            announced = 1; awaits[x] = 1; out(RESUME, 1, own[x], 0, 0, 0, 0)
       :: owes_question && ALIVE(x) && st[x] != OPENING ->
            awaits[x] = 1; report(); if :: x == H -> g_named = g_named | (1 << peer[x]) :: else fi;
            out(RESUME, nxt[x], own[x], peer[x], rack, rbits, 0)
       :: else
       fi;
       if
       :: beat_owed && MAY_TALK(x) ->
            beat_unanswered[x] = 1; report(); out(BEAT, 0, 0, 0, rack, rbits, 0)
       :: else
       fi;
       if
       :: ack_due && ALIVE(x) && !SENDABLE(x) -> report(); out(ACK, 0, 0, 0, rack, rbits, 0)
       :: else
       fi;
       do
       :: SENDABLE(x) -> send_one()
       :: else -> break
       od;
       if :: unsaid[x] && MAY_TALK(x) -> ack_timer[x] = 1 :: else fi;
#ifdef EAGER
       if
       :: MAY_TALK(x) ->
            report();
            out(ACK, 0, 0, 0, rack, rbits, 0)    /* a heartbeat would only ask for this */
       :: else
       fi;
       if
       :: asking[x] && st[x] != OPENING || CONFIRMED(x) ->
            report(); if :: x == H -> g_named = g_named | (1 << peer[x]) :: else fi;
            out(RESUME, nxt[x], own[x], peer[x], rack, rbits, 0);
            if
            :: CONFIRMED(x) -> out(RESUME, nxt[x], own[x], peer[x], rack, rbits, 1)
            :: else
            fi
       :: else
       fi;
       beat_unanswered[x] = 0; ack_timer[x] = 0; unsaid[x] = 0; missed[x] = 0
#endif
  :: else
  fi;
  owes_answer = 0; owes_question = 0; owes_unknown = 0; ack_due = 0; beat_owed = 0
}

inline clean() {
  i = 0; m = 0; fk = 0; fa = 0; fo = 0; fp = 0; fack = 0; fbits = 0; fans = 0; rack = 0; rbits = 0;
  s = 0; before_rn = 0; after_rn = 0; d = 0; old = 0; ok = 0; answered = 0; first = 0; had_gap = 0;
  measures = 0; taken = 0; code = 0; x = 0; act = 0
}

/* ------------------------------------------------------------------ a stream begins and ends */

inline fresh_stream() {
  peer[x] = 0; asking[x] = 0; fresh[x] = 1; closing[x] = 0;
  queued[x] = 0; una[x] = 1; nxt[x] = 1; reported[x] = 0; lost[x] = 0; before[x] = 0;
  got[x] = 0; consumed[x] = 0; ack_timer[x] = 0; unsaid[x] = 0; missed[x] = 0;
  beat_unanswered[x] = 0; awaits[x] = 0;
  g_sent[x] = 0; g_strange[x] = 0;
#ifdef ORDER
  later[3 * x] = 0; later[3 * x + 1] = 0; later[3 * x + 2] = 0; overtaken[x] = 0; noted[x] = 0;
#endif
#ifdef TRACE
  sampled[x] = 0; aged[x] = 0; once[x] = 0;
#endif
#ifdef LIVE
  tries[x] = 0;
#endif
  if :: x == H -> announced = 0; lost_while_unknown = 0 :: else fi
}

inline end_stream(reason_, local_) {
  /* only a fault, or an application, ends a stream */
  assert(g_fault);
  /* a graceful close leaves nothing behind */
  assert(!(local_ && (reason_) == CLOSED) || (una[x] == nxt[x] && nxt[x] > queued[x]));
#ifdef TRACE
  printf("! %d %d %d ", reason_, local_, st[x] != UNCONFIRMED);
  printf("%d %d %d\n", una[x], nxt[x], queued[x]);
#endif
  /* the messages before s are called unknown, s and later ones never sent */
#ifdef M_NEVERSENT
  s = (st[x] == OPENING -> una[x] : nxt[x]);
#else
  s = nxt[x];
#endif
  assert((g_sent[x] & ~UPTO(s - 1)) == 0);   /* what is called never sent was not sent */
  s = 0;
  why[x] = reason_;
  if
  :: CONFIRMED(x) ->
       g_over[x] = 1; last_ack[x] = consumed[x]; last_bits[x] = got[x] >> consumed[x]
  :: else -> last_ack[x] = 0; last_bits[x] = 0
  fi;
  reset_owed[x] = local_ && (x == E || announced); reset_sent[x] = 0;
  fresh_stream();
  own[x] = 0; st[x] = ENDED;
  ack_due = 0; owes_answer = 0; owes_question = 0;
}

inline finish_closing() {
  if
#ifdef M_CLOSEEARLY
  :: closing[x] && ALIVE(x) -> end_stream(CLOSED, 1)
#else
  :: closing[x] && ALIVE(x) && una[x] == nxt[x] && nxt[x] > queued[x] -> end_stream(CLOSED, 1)
#endif
  :: else
  fi
}

/* the application at x is given messages before_rn + 1 to after_rn */
inline deliver() {
  m = before_rn;
  do
  :: m < after_rn ->
       m++;
       SAY("< %d %d %d\n", m, x, 0);
       assert(!g_over[x]);                       /* what was reset delivers nothing any more */
       assert(!(g_strange[x] & ONE(m)));         /* it is the peer's own message */
       if
       :: x == E ->
            assert(!(g_run & ONE(m)));           /* at most once, whatever happens */
            assert(m == 1 || (g_run & ONE(m - 1)));    /* in order */
            assert(g_runner == 0 || g_runner == own[E]);
#ifndef EARLY
            assert(g_named & (1 << own[E]));     /* nothing before the confirmation */
#endif
            g_run = g_run | ONE(m); g_runner = own[E]
       :: else ->
            assert(g_from == 0 || g_from == peer[H]);
            g_from = peer[H]
       fi
  :: else -> break
  od;
  m = 0
}

/* ------------------------------------------------------------------ what a frame means */

inline heard() {
  beat_unanswered[x] = 0;
#ifdef LIVE
  tries[x] = 0;
#endif
}

#ifdef ORDER
inline note(s_) {
  if
  :: (s_) < nxt[x] && !(noted[x] & ONE(s_)) ->
#ifdef TRACE
       if :: (once[x] & ONE(s_)) && measures -> sampled[x] = 1 :: else fi;
#endif
       noted[x] = noted[x] | ONE(s_);
       m = 0;
       do
       :: m < 3 ->
            if
            :: later[3 * x + m] & ONE(s_) -> overtaken[x] = overtaken[x] | (1 << m)
            :: else
            fi;
            m++
       :: else -> break
       od;
       m = 0
  :: else
  fi
}
#endif

/* the ack fields of a frame; ok: they speak only of what was sent */
inline take_report(afresh_) {
  measures = !(afresh_);
  ok = fack + TOP(fbits) < nxt[x];
  if
  :: ok && fack + 1 >= una[x] ->
#ifdef ORDER
       s = una[x];
       do
       :: s <= fack || (s <= 3 && s < nxt[x]) ->
            if
            :: s <= fack || (((fbits << fack) & ~reported[x]) & ONE(s)) -> note(s)
            :: else
            fi;
            s++
       :: else -> break
       od;
#endif
       una[x] = fack + 1;
       lost[x] = lost[x] & ~UPTO(fack) & ~(fbits << fack);
       reported[x] = reported[x] & ~UPTO(fack);
       before[x] = before[x] & ~UPTO(fack);
       if
#ifdef M_KEEPSACK
       :: 1 -> reported[x] = reported[x] | (fbits << fack)
#else
       :: afresh_ -> reported[x] = fbits << fack
       :: else -> reported[x] = reported[x] | (fbits << fack)
#endif
       fi;
#ifdef M_BITSACK
       una[x] = 1 + PREFIX(reported[x] | UPTO(fack));
       reported[x] = reported[x] & ~UPTO(una[x] - 1);
       lost[x] = lost[x] & ~UPTO(una[x] - 1);
       before[x] = before[x] & ~UPTO(una[x] - 1);
#endif
#ifdef GAP
       lost[x] = lost[x] | (SENT(x) & ~reported[x] & overtaken[x]);
#endif
       /* acknowledged means taken over by the application, of the peer and no other */
       assert((UPTO(una[x] - 1) & ~g_done[1 - x]) == 0);
       assert(x == H || una[x] == 1 || g_from == own[x])
  :: else
  fi
}

/* the peer's resume names this pair */
inline on_pair() {
  if
  :: fack + TOP(fbits) < nxt[x] ->
       heard();
       if :: st[x] == OPENING -> peer[x] = fo :: else fi;
       if
       :: fans -> answered = asking[x] || awaits[x]; awaits[x] = 0
       :: else -> answered = asking[x] && fresh[x]
       fi;
       first = st[x] == UNCONFIRMED || st[x] == OPENING;
       before_rn = DELIVERED(x);
       asking[x] = 0; owes_question = 0; fresh[x] = 0; st[x] = OPEN;
       if :: x == H -> lost_while_unknown = 0 :: else fi;
       if
       :: first ->
            after_rn = PREFIX(got[x]); deliver();
            if :: got[x] -> ack_now() :: else fi
       :: else
       fi;
       take_report(1);
       if
       :: answered -> lost[x] = lost[x] | (SENT(x) & before[x] & ~reported[x])
#ifdef TRACE
       :: !answered && old && sampled[x] -> lost[x] = lost[x] | (SENT(x) & ~reported[x])
#else
       :: !answered && old -> lost[x] = lost[x] | (SENT(x) & ~reported[x])
#endif
       :: else
       fi;
       if :: awaits[x] -> skip :: else -> before[x] = 0 fi;
#ifdef M_ANSWERALL
       owes_answer = 1;
#else
       owes_answer = !fans;
#endif
       if :: missed[x] -> want_ack() :: else fi;
       finish_closing()
  :: else
  fi
}

inline on_resume() {
#ifdef M_NOINCARNATION
  if
  :: st[x] != OPENING && !(fp && fp != own[x]) -> peer[x] = fo
  :: else
  fi;
#endif
  if
  :: fp && fp != own[x] -> if :: x == E -> end_stream(UNKNOWN_STREAM, 1) :: else fi
#ifndef M_NOINCARNATION
  :: !(fp && fp != own[x]) && st[x] != OPENING && fo != peer[x] -> end_stream(PEER_RESTARTED, 1)
#endif
  :: else ->
       if
#ifndef M_OPENINGCONFIRMS
       :: x == E && !fp -> if :: st[x] == UNCONFIRMED -> ask() :: else -> owes_answer = 1 fi
       :: !(x == E && !fp) && fa <= TOP(got[x]) && st[x] != UNCONFIRMED -> ack_now()
#else
       :: fa <= TOP(got[x]) && CONFIRMED(x) -> ack_now()
#endif
       :: else -> on_pair()
       fi
  fi
}

inline take_data() {
  if
  :: got[x] & ONE(fa) ->
#ifdef M_TWICE
       if :: fa <= DELIVERED(x) -> before_rn = fa - 1; after_rn = fa; deliver() :: else fi;
#endif
       if :: st[x] != UNCONFIRMED || DELIVERS_EARLY -> ack_now(); want_ack() :: else fi
  :: else ->
       had_gap = PREFIX(got[x]) != TOP(got[x]);
       before_rn = DELIVERED(x);
       got[x] = got[x] | ONE(fa);
       if :: fo != peer[x] -> g_strange[x] = g_strange[x] | ONE(fa) :: else fi;
       after_rn = DELIVERED(x); deliver();
       if
       :: st[x] != UNCONFIRMED || DELIVERS_EARLY ->
            if :: had_gap || PREFIX(got[x]) != TOP(got[x]) -> ack_now() :: else fi;
            want_ack()
       :: else
       fi
  fi
}

inline take_offer() {
  accepted++;
  fresh_stream();
#ifdef M_SAMEINCARNATION
  own[x] = 1;
#else
  own[x] = accepted;
#endif
  peer[x] = fo; st[x] = UNCONFIRMED; got[x] = early; early = 0;
#ifdef M_REUSE
  g_strange[x] = (fo == 1 -> 0 : g_early); g_early = 0;
#endif
  why[x] = 0; last_ack[x] = 0; last_bits[x] = 0;
  before_rn = 0; after_rn = DELIVERED(x); deliver();
  ask()
}

/* a frame for an id that is not alive here */
inline on_unknown() {
  if
  :: fk == RESET -> reset_owed[x] = 0; reset_sent[x] = 0; if :: x == E -> early = 0 :: else fi
  :: fk != RESET && st[x] == ENDED ->
#ifdef M_ENDEDDATA
       if :: fk == DATA && g_over[x] -> before_rn = fa - 1; after_rn = fa; deliver() :: else fi;
#endif
       reset_owed[x] = 1
  :: fk != RESET && st[x] == NONE && x == H -> owes_unknown = 1
  :: fk != RESET && st[x] == NONE && x == E ->
       if
       :: fk == RESUME && fa == 1 && !fp -> take_offer()
       :: fk == DATA ->
#ifdef M_REUSE
            if :: fo == 1 && !(early & ONE(fa)) -> g_early = g_early | ONE(fa) :: else fi;
#endif
            early = early | ONE(fa)
       :: else -> owes_unknown = 1
       fi
  fi
}

inline receive() {
  if
  :: st[x] == FOREIGNER ->
       if
       :: fk == DATA -> assert(!(g_run & ONE(fa))); g_run = g_run | ONE(fa)
       :: else
       fi
  :: st[x] == NONE || st[x] == ENDED -> on_unknown()
  :: ALIVE(x) && fk == RESET ->
       if
#ifndef M_UNKNOWNENDS
       :: st[x] == OPENING && fa == UNKNOWN_STREAM
#endif
       :: else ->
            if :: CONFIRMED(x) -> take_report(0) :: else fi;
            end_stream(fa, 0)
       fi
  :: ALIVE(x) && fk == RESUME -> on_resume()
  :: ALIVE(x) && DENIES
  :: ALIVE(x) && fk != RESET && fk != RESUME && !DENIES ->
       if
       :: CONFIRMED(x) -> heard(); take_report(0)
       :: else
       fi;
       if
       :: fk == DATA && st[x] != OPENING -> take_data()
       :: fk == BEAT && CONFIRMED(x) -> ack_now()
       :: else
       fi;
       if :: CONFIRMED(x) -> finish_closing() :: else fi
  fi
}

/* ------------------------------------------------------------------ what else happens to an end */

inline link_opened() {
  up[x] = 1;
  if :: ALIVE(x) -> ask(); before[x] = SENT(x) :: else fi
}

inline link_closed() {
  up[x] = 0;
  if
  :: ALIVE(x) ->
       if :: st[x] == OPENING && announced -> lost_while_unknown = 1 :: else fi;
       fresh[x] = 1; ack_timer[x] = 0; missed[x] = 0; beat_unanswered[x] = 0; awaits[x] = 0;
#ifdef RENEGE
       if :: x == E -> got[x] = UPTO(PREFIX(got[x])) :: else fi
#endif
  :: else
  fi;
#ifndef M_RESETONCE
  if :: reset_sent[x] -> reset_owed[x] = 1; reset_sent[x] = 0 :: else fi;
#endif
  if :: x == E -> early = 0 :: else fi
#ifdef ROUTER
  ; link_lost()
#endif
}

inline crash() {
  crashes[x]--; g_fault = 1;
#ifdef LIVE
  g_crashed = 1;
#endif
  if :: up[x] -> link_closed() :: else fi;
  fresh_stream();
  own[x] = 0; st[x] = NONE; why[x] = 0; last_ack[x] = 0; last_bits[x] = 0;
  reset_owed[x] = 0; reset_sent[x] = 0; g_over[x] = 0;
#ifdef BASIC
  if :: x == E -> st[x] = FOREIGNER :: else fi
#endif
}

inline on_rto() {
  if
#ifdef M_BLIND
  :: UNACKED(x) -> lost[x] = SENT(x) & ~reported[x]
#endif
  :: beat_unanswered[x] || (SENT(x) & ~reported[x]) -> ask()
  :: else -> beat_owed = 1
  fi
}

inline begin() {
  x = E; fresh_stream(); x = H; fresh_stream();
  own[H] = 1; st[H] = OPENING; up[E] = 1; g_begun = 1;
  crashes[H] = CRASHH; crashes[E] = CRASHE; cuts[H] = CUTH; cuts[E] = CUTE
}

#ifdef TRACE
#define SOMETIMES(what, least, most) \
  if :: what = least :: what = least :: what = most fi
#define OFTEN(when, e, what) \
       :: when -> x = e; act = what \
       :: when -> x = e; act = what

/* the next trace starts afresh, with some of the faults */
inline begin_trace() {
  st[E] = NONE; own[E] = 0; why[H] = 0; why[E] = 0; up[H] = 0;
  last_ack[H] = 0; last_ack[E] = 0; last_bits[H] = 0; last_bits[E] = 0;
  reset_owed[H] = 0; reset_owed[E] = 0; reset_sent[H] = 0; reset_sent[E] = 0;
  early = 0; accepted = 0; n_net[H] = 0; n_net[E] = 0; unseen[H] = 0; unseen[E] = 0; jumps[H] = 0; jumps[E] = 0;
  g_run = 0; g_runner = 0; g_named = 0; g_from = 0; g_done[H] = 0; g_done[E] = 0;
  g_over[H] = 0; g_over[E] = 0; g_fault = 0;
  begin();
  SOMETIMES(crashes[H], 0, CRASHH); SOMETIMES(crashes[E], 0, CRASHE);
  SOMETIMES(cuts[H], 1, CUTH); SOMETIMES(cuts[E], 1, CUTE);
  SOMETIMES(resets_left, 0, APPRST); SOMETIMES(netrsts, 0, NETRST);
  SOMETIMES(closes, 0, CLOSE); SOMETIMES(timeouts, 0, TIMEOUTS); forgets = FORGET;
  if
  :: slow = 0; impatient = 0
  :: slow = 0; impatient = 0
  :: slow = 1; impatient = 0
  :: slow = 0; impatient = 1; timeouts = TIMEOUTS
  fi;
  if :: patient = 0 :: patient = 1 fi;
  printf("# %d %d\n", slow, impatient);
  if :: calm = 0 :: calm = 20 :: calm = 40 :: calm = STEPS fi;
  steps = 0; traces--
}

/* every deadline that may lie before others runs out first, so that a driver can let just one pass */
#define SHORT_FREE(e) ((!ack_timer[e] || slow) && !impatient)
#define TIMER_RTO(e) (up[e] && st[e] == OPEN && (UNACKED(e) || beat_unanswered[e]))
#define TIMER_ASK(e) (up[e] && asking[e])
#define MAY_ACKDELAY(e) (up[e] && ack_timer[e] && !impatient && (!slow || !(TIMER_RTO(e) || TIMER_ASK(e))))
#define MAY_RTO(e) (TIMER_RTO(e) && SHORT_FREE(e))
#define MAY_ASK(e) (TIMER_ASK(e) && SHORT_FREE(e))
#define MAY_BEAT(e) (up[e] && st[e] == OPEN && !ack_timer[e] && !TIMER_RTO(e) && !impatient)
#define MAY_TIMEOUT(e) (WAITING(e) && timeouts && (impatient || !up[e]))
#define DUE(e) \
  (!ALIVE(e) -> ((e == E && early) -> 6 : 0) : \
  (((impatient && WAITING(e)) || !up[e]) -> (WAITING(e) -> 5 : 0) : \
  ((ack_timer[e] && (!slow || !(TIMER_RTO(e) || TIMER_ASK(e)))) -> 1 : \
  (TIMER_RTO(e) -> 2 : (TIMER_ASK(e) -> 3 : (st[e] == OPEN -> 4 : 0))))))
#elif defined(LIVE)
#define APP_MOVES(e) \
  ((ALIVE(e) && st[e] != UNCONFIRMED && queued[e] < MESSAGES(e) && !closing[e]) || \
   (CONFIRMED(e) && consumed[e] < DELIVERED(e)))
#define QUIET \
  (!n_net[H] && !n_net[E] && !APP_MOVES(H) && !APP_MOVES(E) && up[H] && up[E])
#define STRONG(e) \
  (ack_timer[e] || (st[e] == OPEN && (UNACKED(e) || beat_unanswered[e])) || asking[e] || \
   (e == E && early))
#define MAY_ACKDELAY(e) (QUIET && ack_timer[e])
/* the two ends take turns */
#define TURN(e) (QUIET && tries[e] < TRIES && (tries[e] <= tries[1 - e] || !STRONG(1 - e)))
#define MAY_RTO(e) (TURN(e) && st[e] == OPEN && (UNACKED(e) || beat_unanswered[e]))
#define MAY_ASK(e) (TURN(e) && asking[e])
#define MAY_BEAT(e) (QUIET && st[e] == OPEN && !STRONG(H) && !STRONG(E) && tries[e] < TRIES)
#define MAY_TIMEOUT(e) (QUIET && WAITING(e) && tries[e] == TRIES)
#elif defined(EAGER)
#define MAY_ACKDELAY(e) 0
#define MAY_RTO(e) (up[e] && st[e] == OPEN)
#define MAY_ASK(e) 0
#define MAY_BEAT(e) 0
#define MAY_TIMEOUT(e) (ALIVE(e) && timeouts)
#else
#define MAY_ACKDELAY(e) (up[e] && ack_timer[e])
#define MAY_RTO(e) (up[e] && st[e] == OPEN && (UNACKED(e) || beat_unanswered[e]))
#define MAY_ASK(e) (up[e] && asking[e])
#define MAY_BEAT(e) (up[e] && st[e] == OPEN && !beat_unanswered[e])
#define MAY_TIMEOUT(e) (WAITING(e) && timeouts)
#endif

#ifdef TRACE
#define STORM (steps > calm)      /* in a walk, what ends streams waits for a while */
#else
#define STORM 1
#endif

#ifdef LIVE
/* all that was to be sent is delivered and acknowledged, or the stream has ended at both ends */
#define ALL_DONE(e) (st[e] == OPEN && una[e] == MESSAGES(e) + 1)
#define OVER(e) (st[e] == NONE || st[e] == ENDED || st[e] == FOREIGNER)
#define settled (g_begun && ((ALL_DONE(H) && ALL_DONE(E)) || (OVER(H) && OVER(E) && !early)))
ltl ends_well { <> settled }
#endif

#ifdef TRACE
#define PATIENT (patient)         /* in some walks messages wait until the stream is open */
#else
#define PATIENT 0
#endif
#define MAY_SEND(e) \
  (ALIVE(e) && st[e] != UNCONFIRMED && queued[e] < MESSAGES(e) && !closing[e] && \
   !(PATIENT && st[e] == OPENING))

/* the choices that exist for end e */
#define CHOICES(e) \
     :: n_net[e] && up[e] -> x = e; act = A_DELIVER \
     :: MAY_SEND(e) -> x = e; act = A_SEND \
     :: DELIVERED(e) > consumed[e] && st[e] != UNCONFIRMED -> x = e; act = A_CONSUME \
     :: !up[e] -> x = e; act = A_UP \
     :: up[e] && cuts[e] -> x = e; act = A_CUT \
     :: crashes[e] && STORM -> x = e; act = A_CRASH \
     :: MAY_ACKDELAY(e) -> x = e; act = A_ACKDELAY \
     :: MAY_RTO(e) -> x = e; act = A_RTO \
     :: MAY_ASK(e) -> x = e; act = A_QUESTION \
     :: MAY_BEAT(e) -> x = e; act = A_HEARTBEAT \
     :: MAY_TIMEOUT(e) && STORM -> x = e; act = A_TIMEOUT \
     :: forgets && st[e] == ENDED -> x = e; act = A_FORGET \
     :: resets_left && STORM && ALIVE(e) && st[e] != UNCONFIRMED -> x = e; act = A_RESET \
     :: closes && STORM && ALIVE(e) && st[e] != UNCONFIRMED && !closing[e] -> x = e; act = A_CLOSE \
     :: netrsts && STORM && up[e] && ALIVE(e) -> x = e; act = A_NETRST

init {
  d_step { begin() }
#ifdef TRACE
  traces = TRACES;
  atomic { begin_trace() };
#endif
end:
  do
#ifdef TRACE
  :: atomic { steps >= STEPS && traces > 0 -> begin_trace() }
  :: steps >= STEPS && traces == 0 -> break
  :: atomic { steps < STEPS ->
       steps++;
#else
  :: atomic {
#endif
       if
       CHOICES(H)
       CHOICES(E)
#ifdef TRACE
       OFTEN(unseen[H] < n_net[H] && up[H], H, A_DELIVER)
       OFTEN(unseen[E] < n_net[E] && up[E], E, A_DELIVER)
       OFTEN(PATIENT && MAY_SEND(H), H, A_SEND)
       OFTEN(PATIENT && MAY_SEND(E), E, A_SEND)
       OFTEN(DELIVERED(H) > consumed[H], H, A_CONSUME)
       OFTEN(DELIVERED(E) > consumed[E] && st[E] != UNCONFIRMED, E, A_CONSUME)
       :: else -> act = 0
#endif
#ifdef LIVE
       :: QUIET && early -> x = E; act = A_PENDING
#else
       :: early && up[E] && st[E] == NONE -> x = E; act = A_PENDING
#endif
#ifdef ROUTER
       :: restarts -> x = H; act = A_RESTART
       :: losses && n_net[H] -> x = H; act = A_LOSE
       :: losses && n_net[E] -> x = E; act = A_LOSE
       :: graces && (route == 2 || (route == 1 && !route_harness)) -> x = H; act = A_GRACE
#endif
#ifdef M_REUSE
       :: st[H] == NONE && !g_reused -> x = H; act = A_REUSE
#endif
       fi;
       i = 0; old = 0;
       if
       :: act == A_DELIVER ->
#ifdef ROUTER
            d = x; d_step { take_first(); i = 0; d = 0 }
#else
#ifdef TRACE
            if
            :: unseen[x] < n_net[x] -> i = unseen[x]; unseen[x]++
            :: unseen[x] < n_net[x] -> i = unseen[x]; unseen[x]++
            :: unseen[x] + 1 < n_net[x] -> i = unseen[x] + 1; unseen[x] = i + 1   /* one is lost */
            :: i = n_net[x] - 1; do :: i > 0 -> i-- :: break :: break od
            fi;
#else
            do :: i + 1 < n_net[x] -> i++ :: break od;
#endif
            code = net[x * CAP + i]; i = 0;
#endif
            d_step { unpack() };
            if
            :: fk == RESUME && CONFIRMED(x) && SENT(x) && fa > TOP(got[x]) && fo == peer[x] && fp ->
#ifdef TRACE
                 if
                 :: !(aged[x] & SENT(x)) -> old = 0
                 :: jumps[x] < 2 && !impatient && !ack_timer[x] && !TIMER_RTO(x) -> old = 1; jumps[x]++
                 :: else -> act = 0                /* not this one, now */
                 fi
#else
                 if :: old = 0 :: old = 1 fi
#endif
            :: else
            fi
       :: else
       fi;
       STEP {
#ifdef TRACE
         if :: act -> printf("@ %d %d %d", act, x, old) :: else fi;
         if
         :: act == 0
         :: act == A_DELIVER || act == A_NETRST ->
              if
              :: act == A_NETRST ->
                   fa = (x == H -> UNAVAILABLE : DISCONNECTED);
                   pack(RESET, fa, 0, 0, 0, 0, 0); unpack()
              :: else
              fi;
              printf(" %d %d %d %d", fk, fa, fo, fp); printf(" %d %d %d\n", fack, fbits, fans)
         :: else -> printf("\n")
         fi;
         if
         :: old || act == A_RTO || act == A_QUESTION || act == A_HEARTBEAT || 
            (slow && act == A_ACKDELAY) -> aged[x] = SENT(x)
         :: else
         fi;
#endif
         if
         :: act == A_DELIVER -> receive()
         :: act == A_SEND -> queued[x]++
         :: act == A_CONSUME ->
              consumed[x]++; unsaid[x] = 1; g_done[x] = g_done[x] | ONE(consumed[x])
         :: act == A_UP -> link_opened()
         :: act == A_CUT -> cuts[x]--; link_closed()
         :: act == A_CRASH -> crash()
         :: act == A_ACKDELAY -> ack_timer[x] = 0; ack_now()
         :: act == A_RTO -> on_rto()
         :: act == A_QUESTION -> ask()
         :: act == A_HEARTBEAT -> beat_owed = 1
         :: act == A_TIMEOUT ->
#ifdef LIVE
              assert(g_crashed || st[x] == UNCONFIRMED);  /* nobody is given up that lives */
#else
              timeouts--; g_fault = 1;
#endif
              end_stream(TIMEOUT, 1)
         :: act == A_PENDING ->
              early = 0; owes_unknown = 1;
#if !defined(ROUTER) && !defined(STALE)
              g_fault = 1        /* the reset may be overtaken by a later opening; see docs */
#endif
         :: act == A_FORGET ->
              forgets--; st[x] = NONE; why[x] = 0; last_ack[x] = 0; last_bits[x] = 0;
              reset_owed[x] = 0; reset_sent[x] = 0
         :: act == A_RESET -> resets_left--; g_fault = 1; end_stream(CANCELLED, 1)
         :: act == A_CLOSE -> closes--; g_fault = 1; closing[x] = 1; finish_closing()
         :: act == A_NETRST ->
              netrsts--; g_fault = 1;
              fk = RESET; fa = (x == H -> UNAVAILABLE : DISCONNECTED); fack = 0; fbits = 0;
              receive()
#ifdef ROUTER
         :: act == A_RESTART ->
              restarts--; no_route();
              flush(H); flush(E);
              x = E; if :: up[x] -> link_closed() :: else fi;
              x = H; if :: up[x] -> link_closed() :: else fi
         :: act == A_LOSE -> losses--; d = x; take_first()
         :: act == A_GRACE ->
              graces--; g_fault = 1;
              if :: route == 2 -> end_route(UNAVAILABLE) :: else -> end_route(DISCONNECTED) fi
#endif
#ifdef M_REUSE
         :: act == A_REUSE -> g_reused = 1; fresh_stream(); own[H] = 2; st[H] = OPENING;
              if :: up[H] -> ask() :: else fi
#endif
         :: else
         fi
#ifdef LIVE
         ;
         if
         :: act == A_RTO || act == A_QUESTION || act == A_HEARTBEAT -> tries[x]++
         :: else
         fi
#endif
       };
       STEP { drain() };
#ifdef TRACE
       if
       :: act -> printf("= %d %d %d\n", st[x], una[x] - 1, DUE(x))
       :: else
       fi;
#endif
       STEP { clean() }
     }
  od
}
