"""Protocol engines without sockets.

Every engine here follows one shape: bytes in, events out, bytes to send out. No engine opens a
socket, reads a clock, starts a thread or keeps what it can hand on: deadlines, buffers and threads
belong to the gateway that drives it. So the same engine serves threads and event loops, server and
client, and can be fed whole, byte by byte, or by a fuzzer.

Every input is hostile until parsed: lengths are checked before anything is kept, and each engine
states how much it may hold. Names follow the standard each engine speaks (``StudyInstanceUID``,
``Sta6``); the floors above use snake_case.
"""
