"""A client of kvd: one request at a time, values are bytes. A connection that watches does nothing else."""
import base64, json, socket, struct

class Client:
    def __init__(self, host, port, seen):
        self.socket = socket.create_connection((host, port))
        self.stream = self.socket.makefile("rb")
        self.seen = seen  # key -> the highest ts seen of it: one dict for the connections to all servers

    def ask(self, type, **members):
        body = json.dumps({"type": type, "id": 1, **members}).encode()
        self.socket.sendall(struct.pack(">I", len(body)) + body)
        return self.receive()

    def receive(self):
        length = self.stream.read(4)
        if len(length) < 4:
            raise ConnectionError("the server has closed the connection: ask another one")
        message = json.loads(self.stream.read(struct.unpack(">I", length)[0]))
        if message["type"] == "ERROR":
            raise RuntimeError(f"{message['code']}: {message['message']}")
        if message["type"] == "WAIT_FOR_RESPONSE":  # this server has yet to get what we have seen, and answers then
            return self.receive()
        if "value_base64" in message or message.get("value") is not None:
            text = message.get("value")
            message["value"] = base64.b64decode(message["value_base64"]) if text is None else text.encode()
        return message

    def put(self, key, value):
        answer = self.ask("PUT", key=key, value_base64=base64.b64encode(value).decode())
        self.seen[key] = max(self.seen.get(key, 0), answer["ts"])

    def get(self, key):
        answer = self.ask("GET", key=key, ts=self.seen.get(key, 0))
        self.seen[key] = max(self.seen.get(key, 0), answer["ts"] or answer["applied"])
        return answer["value"]  # None: there is no such key

    def watch(self, prefix, from_ts):
        self.ask("WATCH", prefix=prefix, from_ts=from_ts)
        return iter(self.receive, None)  # an EVENT for each change after from_ts, for ever
