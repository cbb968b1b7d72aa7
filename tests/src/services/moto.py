# moto's server, which compares a condition and writes in two steps, and serves each request in a thread: with requests
# carried out one at a time, its conditional writes are those of S3.
import sys
import threading

import moto.server

lock = threading.Lock()
run = moto.server.run_simple


def one_at_a_time(app):
    def call(environ, start_response):
        with lock:
            return list(app(environ, start_response))

    return call


moto.server.run_simple = lambda host, port, app, **more: run(
    host, port, one_at_a_time(app), **more
)
moto.server.main(sys.argv[1:])
