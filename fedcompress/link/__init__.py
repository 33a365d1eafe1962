"""One exchange: what crosses between the server and a client, and what the two ends remember of it.

The server sends a request and the client answers it (`message`); both carry named contents as bytes, with a few numbers
beside them. So that only what is new has to cross, both ends (`server`, `client`) remember what the other one holds as
well: their *references* (`fedcompress.wire.references`). A client also remembers its *residuals*, what its differences
have left out so far.

A lost reply is taken back. The server cannot know whether a client has answered a request that came to nothing, and the
client cannot know whether its answer has arrived. So:

- The server takes an exchange in (`ServerEnd.take`) once it has a good reply, and remembers its number as the last one
  that it accepted. After anything else it forgets what the client holds, but for that number (`ServerEnd.give_up`): its
  next request is `fresh`, which means that it can be decoded without anything that was exchanged before.
- The client keeps its residuals as they were before and after its last reply. Each request names the exchange that was
  `accepted` last, and the client goes back to what it had after that one. After a fresh request it begins with the
  references that both ends make from the seed.

Messages are carried one by one over any Flower grid (`delivery`); replies wait in little memory until all of a call can
be judged (`spool`).
"""
