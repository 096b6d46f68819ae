"""The grpcio backend with numbered messages. Says on standard output which message of a stream it has sent."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "python"))
import server


class Numbered(server.Echo):
    def Download(self, request, context):
        for number, reply in enumerate(super().Download(request, context)):
            reply.payload = str(number).encode()
            yield reply
            print(f"sent {number}", flush=True)


if __name__ == "__main__":
    server.main(Numbered)
