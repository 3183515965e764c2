"""The HTTP door: one bare ASGI application that the protocol gateways stand behind.

Owns what every request shares: limits (`guard`), the route table (`routes`), one request and its answer
(`exchange`), errors as HTTP (`problems`), the web app's files (`site`), the API's description
(`openapi`) and the root that joins them (`door`). Knows no protocol: `gateways.dicomweb` and
`gateways.console` bring their routes, and the app puts them together.
"""
