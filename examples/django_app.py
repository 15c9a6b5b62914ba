"""A Django project, in one file, with a Socket.IO server around it: one port, and views that emit.

Run it with ``python examples/django_app.py``, or with any ASGI server: ``daphne examples.django_app:app``. Post to it:
``curl -X POST "localhost:3000/say?text=hello"``. It needs django. In a project of your own the last line of
``asgi.py`` becomes ``application = madang.ASGIApp(io, get_asgi_application())``.
"""

import os

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

import madang

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET", "only for this example"),
)
django.setup()
io = madang.Server()


@csrf_exempt
def say(request: HttpRequest):  # runs in a thread; emitting from there is fine
    io.emit("said", request.GET["text"])
    return JsonResponse({"heard by": len(io.sockets)})


@csrf_exempt
async def shout(request: HttpRequest):
    io.emit("said", request.GET["text"].upper())
    return JsonResponse({"heard by": len(io.sockets)})


@io.on("say")
def said(socket: madang.Socket, text: str):
    io.emit("said", text)


urlpatterns = [path("say", say), path("shout", shout)]
app = madang.ASGIApp(io, get_asgi_application())


if __name__ == "__main__":
    io.run(port=int(os.environ.get("PORT", "3000")), app=app.app)
