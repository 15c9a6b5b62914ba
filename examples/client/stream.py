"""Print what is said and measured, as it comes.

Start ``python examples/client/server.py``, then ``python examples/client/stream.py``; URL in the environment names
another server. Ctrl-C ends it.
"""

import asyncio
import os

import madang


async def main():
    async with madang.connect(os.environ.get("URL", "http://localhost:3000")) as client:
        print("listening", flush=True)
        async for event in client.events("said", "reading"):
            match event.name:
                case "said":
                    print(event.data["text"], flush=True)
                case "reading":
                    print(f"{event.data} °C", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
