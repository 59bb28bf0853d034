# An agent with the published SDK: it asks the sidecar on localhost for a token and starts a session of a MACP runtime with
# it over gRPC, then with a garbage and with a tampered one. It prints one line of JSON and ends.
import base64
import json
import os
import urllib.request

from macp_sdk import AuthConfig, DecisionSession, MacpAckError, MacpClient

sender = os.environ["SENDER"]


def mint():
    body = json.dumps({"sender": sender, "ttl_seconds": 60}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(os.environ["MACP_AUTH_SERVICE_URL"] + "/tokens", body, headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)["token"]


def tampered(token):
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["exp"] += 3600
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return ".".join([header, payload, signature])


def judge(token, name):
    auth = AuthConfig.for_bearer(token, expected_sender=name)
    client = MacpClient(target=os.environ["RUNTIME_TARGET"], allow_insecure=True, auth=auth)
    try:
        client.initialize()
        DecisionSession(client).start(intent="verify a token", participants=[name, "agent://other"], ttl_ms=60_000)
        return "accepted"
    except MacpAckError as error:
        return error.failure.code
    finally:
        client.close()


good = mint()
line = {"event": "proof", "garbage": judge("garbage", "garbage"), "good": judge(good, sender)}
print(json.dumps({**line, "tampered": judge(tampered(good), sender)}))
