"""What to change, with the names that proxies and balancers have for it."""

from __future__ import annotations

from typing import Final

UPGRADE: Final = (
    'nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";',
    "Apache: RewriteRule with [P] to ws://, or ProxyPass ... upgrade=websocket. Cloudflare: Network, WebSockets, on.",
    "HAProxy and ALB pass it on by themselves: look for what stands before or behind them.",
)

STICKY: Final = (
    'Keep a client with its server. nginx, in upstream: "ip_hash;" or "hash $remote_addr consistent;".',
    "HAProxy: cookie NAME insert indirect nocache, and a cookie value on each server line.",
    "ALB: target group, stickiness on. Kubernetes ingress-nginx: nginx.ingress.kubernetes.io/affinity: cookie.",
    "Several worker processes behind one port need it too (not madang's own: madang run --workers).",
    'Or let clients use WebSocket alone: transports: ["websocket"].',
)

BUFFERING: Final = (
    "nginx: proxy_buffering off; or the answer's header X-Accel-Buffering: no.",
    "Cloudflare and other CDNs: no caching and no transformation for this path. HAProxy holds no answers back.",
    "A virus scanner or a company's proxy that looks into answers does it too; over TLS it mostly cannot.",
)

BODY: Final = (
    "nginx: client_max_body_size, not below the server's max_http_buffer_size (maxHttpBufferSize).",
    "Apache: LimitRequestBody. Kubernetes ingress-nginx: nginx.ingress.kubernetes.io/proxy-body-size.",
    "A web application firewall may have a limit of its own, such as 8 KiB.",
)

TIMEOUT: Final = (
    "Its timeout must be longer than the ping interval. nginx: proxy_read_timeout and proxy_send_timeout.",
    "HAProxy: timeout tunnel, timeout client, timeout server. ALB: idle_timeout.timeout_seconds.",
    "Google's balancer: the backend service's timeoutSec, which bounds a WebSocket's whole life.",
    "Or let the server ping more often: ping_interval (pingInterval).",
)

HOST: Final = (
    "The server compares Origin with Host: pass the browser's on. nginx: proxy_set_header Host $http_host;",
    "and proxy_set_header X-Forwarded-Proto $scheme; python-socketio looks at the scheme as well.",
    "If pages come from other origins alone, name one: --origin https://app.example.com",
)

DOUBLED: Final = (
    "Two parts answer CORS, and browsers refuse both answers together: one of them must stop for this path.",
    "nginx: add_header Access-Control-Allow-Origin, or proxy_hide_header Access-Control-Allow-Origin beside it.",
    "A CORSMiddleware around python-socketio: cors_allowed_origins=[] there, or the middleware without this path.",
    "Around madang: madang.ASGIApp(io, app) outermost instead of app.mount(), then only the server's cors counts.",
)

ORIGIN: Final = (
    'The server\'s option must name it. madang: cors={"origin": "..."}; Node: cors: { origin: "..." };',
    "python-socketio: cors_allowed_origins. If it does, something on the way takes the header away.",
)

AWAY: Final = (
    "The proxy does not reach the server: is it running, and on the address and port that the proxy has?",
    "nginx: proxy_pass, upstream, and its error log. In containers 127.0.0.1 is the container: listen on 0.0.0.0.",
)

_KNOWN: Final = (
    (30, "Google's balancer by default"),
    (50, "HAProxy in many examples"),
    (55, "Heroku's router"),
    (60, "nginx (proxy_read_timeout) and ALB (idle_timeout) by default"),
    (100, "Cloudflare"),
    (240, "Azure's balancer by default"),
    (350, "AWS's NLB"),
)


def known_limit(seconds: float) -> tuple[str, ...]:
    """Who is known for cutting after so many seconds, if anybody is."""
    found = next((who for limit, who in _KNOWN if abs(seconds - limit) <= 0.01 * limit + 0.5), None)
    return (f"{seconds:.0f} s is what {found} has.",) if found is not None else ()
