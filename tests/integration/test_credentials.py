"""Keys that come and go: from a process, from a container, from IAM; verified by a server that knows them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from botocore.exceptions import ClientError, SSLError

from bulksend import worker
from bulksend.aws import AwsAccess, Route, credentials
from bulksend.aws.credentials import CredentialSource
from bulksend.aws.signing import Credentials, SignedHead, Signer
from bulksend.model import AllAccepted, Answer, NotSent, Refused, Verdict
from bulksend.outcome import classify_refusal
from bulksend.ses import CompatibleTransport, SignedTransport, find_route
from bulksend.ses.answers import answer_of_error
from bulksend.simulator import SimulatorProcess
from tests.clocks import NO_DEADLINE_S
from tests.harness import Desk, settings_for
from tests.http_server import REGION, Guest, answer_bytes, certificates, results, serving
from tests.independent import Ministack

PREFIX = (
    b'{"FromEmailAddress":"news@example.com",'
    b'"DefaultContent":{"Template":{"TemplateName":"launch","TemplateData":"{}"}},"BulkEmailEntries":['
)
SUFFIX = b"]}"
ENTRY = b'{"Destination":{"ToAddresses":["a@example.com"]}}'
KINDS = ("signed", "compatible")
OWN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

Transport = SignedTransport | CompatibleTransport


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """None in the environment: they are elsewhere."""
    for name in OWN:
        monkeypatch.delenv(name, raising=False)


async def opened(kind: str, url: str, region: str = REGION) -> Transport:
    access = AwsAccess(region=region, endpoint_url=url, connect_timeout_s=5.0, answer_timeout_s=5.0)
    if kind == "compatible":
        return CompatibleTransport(access, PREFIX, SUFFIX, max_connections=4)
    route = await find_route(access, PREFIX)
    assert isinstance(route, Route)
    return SignedTransport(access, route, PREFIX, SUFFIX)


def send_once(kind: str, url: str, region: str = REGION) -> Answer:
    async def main() -> Answer:
        async with await opened(kind, url, region) as transport:
            return await transport.send(ENTRY, NO_DEADLINE_S)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


# A server that verifies -----------------------------------------------------------------------------------------------

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ses:*", "Resource": "*"}]}


def ask(service: str, server: Ministack, keys: Sequence[str], operation: str, **arguments: Any) -> dict[str, Any]:
    """Of the SDK itself, with these keys."""
    import aioboto3  # noqa: PLC0415

    async def main() -> dict[str, Any]:
        session = aioboto3.Session(*keys, region_name=REGION)
        async with session.client(service, endpoint_url=server.endpoint_url) as client:
            answer: dict[str, Any] = await getattr(client, operation)(**arguments)
            return answer

    return asyncio.run(main())


@pytest.fixture(scope="module")
def verifying(_isolation: None) -> Iterator[tuple[Ministack, tuple[str, str]]]:
    """A server that checks SigV4, and the keys of a user who may send."""
    with Ministack(auth=True) as server:
        root = ("test", "test")
        ask("iam", server, root, "create_user", UserName="sender")
        ask(
            "iam",
            server,
            root,
            "put_user_policy",
            UserName="sender",
            PolicyName="send",
            PolicyDocument=json.dumps(POLICY),
        )
        key = ask("iam", server, root, "create_access_key", UserName="sender")["AccessKey"]
        keys = (key["AccessKeyId"], key["SecretAccessKey"])
        ask("sesv2", server, keys, "create_email_identity", EmailIdentity="example.com")
        template = {"Subject": "Hello", "Text": "x"}
        ask("sesv2", server, keys, "create_email_template", TemplateName="launch", TemplateContent=template)
        yield server, keys


def take_keys(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    for name, value in zip(OWN, keys, strict=False):
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_verifying_server_accepts_a_users_keys(
    kind: str, verifying: tuple[Ministack, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, keys = verifying
    take_keys(monkeypatch, *keys)
    before = len(server.messages())
    answer = send_once(kind, server.endpoint_url)
    assert isinstance(answer, AllAccepted)
    assert [message["MessageId"] for message in server.messages()[before:]] == answer.message_ids


@pytest.mark.parametrize("kind", KINDS)
def test_a_verifying_server_accepts_a_session(
    kind: str, verifying: tuple[Ministack, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, keys = verifying
    got = ask("sts", server, keys, "get_session_token")["Credentials"]
    take_keys(monkeypatch, got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"])
    assert isinstance(send_once(kind, server.endpoint_url), AllAccepted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["secret", "key", "token", "no token", "other token"])
def test_a_verifying_server_refuses_anything_else(
    kind: str, wrong: str, verifying: tuple[Ministack, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, keys = verifying
    got = ask("sts", server, keys, "get_session_token")["Credentials"]
    key, secret, token = got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"]
    match wrong:
        case "secret":
            take_keys(monkeypatch, keys[0], keys[1][::-1])
        case "key":
            take_keys(monkeypatch, "AKIAIOSFODNN7EXAMPLE", keys[1])
        case "token":
            take_keys(monkeypatch, *keys, "no-such-token")
        case "no token":
            take_keys(monkeypatch, key, secret)
        case _:
            take_keys(monkeypatch, key, secret, token[::-1])
    before = len(server.messages())
    answer = send_once(kind, server.endpoint_url)
    assert isinstance(answer, Refused)
    assert answer.http_status == 403
    assert answer.code in {"InvalidSignatureException", "UnrecognizedClientException", "InvalidClientTokenId"}
    assert len(server.messages()) == before


def test_the_region_is_in_the_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(guest: Guest) -> None:
        await guest.request()
        await guest.write(answer_bytes(results("m1")))

    async def main() -> str:
        async with serving(behave) as server, await opened("signed", server.url, "ap-southeast-2") as transport:
            assert await transport.send(ENTRY, NO_DEADLINE_S) == AllAccepted(["m1"])
            return server.visits[0].header("authorization")

    monkeypatch.delenv("AWS_DEFAULT_REGION")
    authorization = asyncio.run(main())
    today = {time.strftime("%Y%m%d", time.gmtime(time.time() - ago_s)) for ago_s in (0, 10)}
    assert authorization.split("Credential=")[1].split(",")[0] in {
        f"{os.environ[OWN[0]]}/{day}/ap-southeast-2/ses/aws4_request" for day in today
    }


# Keys that change -----------------------------------------------------------------------------------------------------


def soon() -> str:
    """When keys end that the SDK renews whenever it is asked: within its ten minutes of caution."""
    return datetime.fromtimestamp(time.time() + 120, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class KeyProcess:
    """A `credential_process` that hands out other keys each time."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, expires: str | None) -> None:
        self._calls = folder / "calls"
        self.broken = folder / "broken"
        program = folder / "keys.sh"
        expiration = "" if expires is None else f',"Expiration":"{expires}"'
        program.write_text(
            "#!/bin/sh\n"
            f'[ -e "{self.broken}" ] && exit 1\n'
            f'echo x >> "{self._calls}"\n'
            f'n=$(wc -l < "{self._calls}")\n'
            """printf '{"Version":1,"AccessKeyId":"AKIA%s","SecretAccessKey":"s%s","SessionToken":"t%s\""""
            + expiration
            + """}' """
            "$n $n $n\n",
            "ascii",
        )
        program.chmod(0o700)
        config = folder / "aws-config"
        config.write_text(f'[default]\ncredential_process = "{program}"\n', "ascii")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    @property
    def calls(self) -> int:
        return len(self._calls.read_text("ascii").splitlines()) if self._calls.exists() else 0


async def telling(guest: Guest) -> None:
    """Answers with the token that came as the message id."""
    while True:
        visit = await guest.request()
        await guest.write(answer_bytes(results(visit.header("x-amz-security-token"))))


@pytest.mark.usefixtures("no_keys")
def test_keys_that_end_soon_are_renewed_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyProcess(tmp_path, monkeypatch, expires=soon())
    monkeypatch.setattr(credentials, "LOOK_AGAIN_S", 0.0)

    async def main() -> list[Answer]:
        async with serving(telling) as server, await opened("signed", server.url) as transport:
            return [await transport.send(ENTRY, NO_DEADLINE_S) for _ in range(3)]

    tokens = [answer.message_ids[0] for answer in asyncio.run(main()) if isinstance(answer, AllAccepted)]
    assert len(tokens) == 3
    assert len(set(tokens)) == 3
    assert tokens[-1] == f"t{keys.calls}"


@pytest.mark.usefixtures("no_keys")
def test_keys_in_hand_serve_while_their_source_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyProcess(tmp_path, monkeypatch, expires=soon())
    monkeypatch.setattr(credentials, "LOOK_AGAIN_S", 0.0)

    async def main() -> None:
        async with serving(telling) as server, await opened("signed", server.url) as transport:
            answers = [await transport.send(ENTRY, NO_DEADLINE_S)]
            keys.broken.touch()
            answers += [await transport.send(ENTRY, NO_DEADLINE_S) for _ in range(2)]
            assert answers == [AllAccepted([f"t{keys.calls}"])] * 3
            generation = await transport.renew_credentials(-1)
            assert await transport.renew_credentials(generation) == generation + 1  # AWS takes them no more
            assert isinstance(await transport.send(ENTRY, NO_DEADLINE_S), Refused)
            keys.broken.unlink()
            assert await transport.send(ENTRY, NO_DEADLINE_S) == AllAccepted([f"t{keys.calls}"])

    asyncio.run(main())


@pytest.mark.usefixtures("no_keys")
def test_however_many_ask_at_once_the_source_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyProcess(tmp_path, monkeypatch, expires=None)

    async def main() -> None:
        async with serving(telling) as server, await opened("signed", server.url) as transport:
            before = keys.calls
            answers = await asyncio.gather(*(transport.send(ENTRY, NO_DEADLINE_S) for _ in range(20)))
            assert answers == [AllAccepted([f"t{before + 1}"])] * 20
            assert keys.calls == before + 1
            renewed = await asyncio.gather(*(transport.renew_credentials(0) for _ in range(20)))
            assert renewed == [1] * 20
            answers = await asyncio.gather(*(transport.send(ENTRY, NO_DEADLINE_S) for _ in range(20)))
            assert answers == [AllAccepted([f"t{before + 2}"])] * 20
            keys.broken.touch()
            assert await transport.renew_credentials(1) == 2
            began_s = time.monotonic()
            answers = await asyncio.gather(*(transport.send(ENTRY, NO_DEADLINE_S) for _ in range(20)))
            assert {type(answer) for answer in answers} == {Refused}
            assert time.monotonic() - began_s < 2, "a failure too is had once for all"
            keys.broken.unlink()
            assert await transport.send(ENTRY, NO_DEADLINE_S) == AllAccepted([f"t{before + 3}"])

    asyncio.run(main())


def test_keys_under_way_when_they_are_renewed_do_not_pass_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next refusal would be one of renewed keys, and halt the campaign."""
    handed_out = 0

    class Source:
        def __init__(self) -> None:
            nonlocal handed_out
            handed_out += 1
            self.keys = Credentials(f"key-{handed_out}", "secret")

        async def get_frozen_credentials(self) -> Credentials:
            await asyncio.sleep(0.01)
            return self.keys

    class Session:
        async def get_credentials(self) -> Source:
            return Source()

    monkeypatch.setattr(credentials, "open_session", lambda _: Session())
    monkeypatch.setattr(credentials, "LOOK_AGAIN_S", 0.0)

    async def main() -> None:
        source = CredentialSource(AwsAccess(region=REGION))
        assert (await source.current()).access_key == "key-1"
        looking = asyncio.create_task(source.current())
        await asyncio.sleep(0)
        assert await source.renew(0) == 1
        await looking
        assert (await source.current()).access_key == "key-2"
        assert source.generation == 1

    asyncio.run(main())


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_a_container(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ECS and EKS hand them out; the token that proves who asks is read from its file each time."""
    token = tmp_path / "token"
    token.write_text("who-asks", "ascii")
    handed_out = 0

    async def container(guest: Guest) -> None:
        nonlocal handed_out
        visit = await guest.request()
        assert visit.header("authorization") == "who-asks"
        handed_out += 1
        keys = {
            "AccessKeyId": "AKIA",
            "SecretAccessKey": "s",
            "Token": f"t{handed_out}",
            "Expiration": "2099-01-01T00:00:00Z",
        }
        await guest.write(answer_bytes(json.dumps(keys).encode(), headers=("Connection: close",)))

    async def main() -> None:
        async with serving(container) as agent, serving(telling) as server:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url}/v1/credentials")
            monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
            async with await opened(kind, server.url) as transport:
                first = await transport.send(ENTRY, NO_DEADLINE_S)
                assert first == AllAccepted([f"t{handed_out}"])
                assert await transport.renew_credentials(0) == 1
                second = await transport.send(ENTRY, NO_DEADLINE_S)
                assert second == AllAccepted([f"t{handed_out}"])
                assert second != first

    asyncio.run(main())


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("kind", ["signed", "compatible"])
def test_no_keys_any_more_is_a_refusal_and_no_doubt(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyProcess(tmp_path, monkeypatch, expires=None)

    async def main() -> None:
        async with serving(telling) as server, await opened(kind, server.url) as transport:
            assert isinstance(await transport.send(ENTRY, NO_DEADLINE_S), AllAccepted)
            keys.broken.touch()
            assert await transport.renew_credentials(0) == 1
            for _ in range(2):
                answer = await transport.send(ENTRY, NO_DEADLINE_S)
                assert isinstance(answer, Refused)
                assert (answer.by_ses, answer.generation) == (True, 1)
                assert classify_refusal(answer) is Verdict.CREDENTIALS_REFUSED
            keys.broken.unlink()
            assert isinstance(await transport.send(ENTRY, NO_DEADLINE_S), AllAccepted)
            assert len(server.visits) == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (403, "AccessDenied", Verdict.CREDENTIALS_REFUSED),
        (400, "ValidationError", Verdict.CREDENTIALS_REFUSED),
        (404, "NotFoundException", Verdict.CREDENTIALS_REFUSED),
        (400, "Throttling", None),
        (429, "TooManyRequestsException", None),
        (500, "InternalFailure", None),
        (503, "ServiceUnavailable", None),
    ],
)
def test_what_sts_says_is_not_said_of_the_mail(status: int, code: str, verdict: Verdict | None) -> None:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {"x-amzn-requestid": "r"}}
    error = ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": metadata}, "AssumeRole")
    answer = answer_of_error(error, 3, sent=False)
    if verdict is None:
        assert isinstance(answer, NotSent)
    else:
        assert isinstance(answer, Refused)
        assert classify_refusal(answer) is verdict
        assert (answer.generation, "AssumeRole" in answer.text) == (3, True)


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("named", [True, False])
def test_whoever_hands_out_roles_shows_a_certificate_of_its_name(
    named: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The SDK's own clients do not look at the name."""
    config = tmp_path / "aws-config"
    config.write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/sender\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = example\n",
        "ascii",
    )
    made = certificates()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(made.bundle(tmp_path)))

    async def sts(guest: Guest) -> None:
        await guest.request()
        body = (
            b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIA</AccessKeyId>"
            b"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
            b"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )
        await guest.write(answer_bytes(body, 200, ("Connection: close",)))

    async def main() -> None:
        async with serving(sts, tls=made.server if named else made.elsewhere) as agent:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", agent.url)
            source = CredentialSource(AwsAccess(region=REGION))
            if named:
                assert (await source.current()).token == "t"
            else:
                with pytest.raises(SSLError):
                    await source.current()
                assert agent.visits == []

    asyncio.run(main())


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("kind", KINDS)
def test_a_role_that_cannot_be_assumed_now_costs_no_doubt(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "aws-config"
    config.write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/sender\nsource_profile = base\nmax_attempts = 1\n"
        "[profile base]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = example\n",
        "ascii",
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    healthy = True

    async def sts(guest: Guest) -> None:
        await guest.request()
        body = (
            b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIA</AccessKeyId>"
            b"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
            b"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )
        if not healthy:
            body = b"<ErrorResponse><Error><Code>InternalFailure</Code><Message>no</Message></Error></ErrorResponse>"
        await guest.write(answer_bytes(body, 200 if healthy else 500, ("Connection: close",)))

    async def main() -> None:
        nonlocal healthy
        async with serving(sts) as agent, serving(telling) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", agent.url)
            async with await opened(kind, server.url) as transport:
                assert isinstance(await transport.send(ENTRY, NO_DEADLINE_S), AllAccepted)
                healthy = False
                await transport.renew_credentials(0)
                assert isinstance(await transport.send(ENTRY, NO_DEADLINE_S), NotSent)
                healthy = True
                assert isinstance(await transport.send(ENTRY, NO_DEADLINE_S), AllAccepted)
                assert len(server.visits) == 2

    asyncio.run(main())


# A whole campaign -----------------------------------------------------------------------------------------------------


class Signatures:
    """Which tokens heads were signed with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens: list[str | None] = []
        head: Callable[..., SignedHead] = Signer.head

        def noted(signer: Signer, keys: Credentials, *arguments: Any) -> SignedHead:
            self.tokens.append(keys.token)
            return head(signer, keys, *arguments)

        monkeypatch.setattr(Signer, "head", noted)


@pytest.mark.usefixtures("no_keys")
def test_a_campaign_whose_keys_change_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyProcess(tmp_path, monkeypatch, expires=soon())
    monkeypatch.setattr(credentials, "LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr("bulksend.outcome.FREE_RETRY_S", 0.02)
    signatures = Signatures(monkeypatch)
    refusal = {"operation": "SendBulkEmail", "share": 1.0, "times": 2}
    with SimulatorProcess(max_send_rate_per_s=5000, enforce=False) as simulator:
        simulator.settings(latency_ms=20)
        desk = Desk(tmp_path, simulator.url)
        campaign = desk.plan([f"a+{n}@example.com" for n in range(3000)])
        simulator.rules([{"fault": "forbidden_403", **refusal}])
        sent = worker.send(campaign, settings_for(simulator.url), desk.store())
        theirs = simulator.tally(campaign.id)
    assert (sent.tally.accepted, sent.tally.in_doubt, sent.tally.adds_up) == (3000, 0, True)
    assert (theirs["accepted"], theirs["copies"]) == (3000, [])
    assert len(set(signatures.tokens)) >= 3, "keys were renewed while it ran"
    assert keys.calls >= 3


@pytest.mark.usefixtures("no_keys")
def test_a_campaign_whose_keys_are_no_more_halts_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyProcess(tmp_path, monkeypatch, expires=soon())
    monkeypatch.setattr(credentials, "LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr("bulksend.outcome.FREE_RETRY_S", 0.02)
    with SimulatorProcess(max_send_rate_per_s=5000, enforce=False) as simulator:
        simulator.settings(latency_ms=20)
        desk = Desk(tmp_path, simulator.url)
        campaign = desk.plan([f"a+{n}@example.com" for n in range(2000)])
        head: Callable[..., SignedHead] = Signer.head

        def then_break(*arguments: Any) -> SignedHead:
            keys.broken.touch()
            return head(*arguments)

        monkeypatch.setattr(Signer, "head", then_break)
        simulator.rules([{"fault": "forbidden_403", "operation": "SendBulkEmail", "share": 0.3}])
        halted = worker.send(campaign, settings_for(simulator.url), desk.store())
        assert halted.tally.adds_up
        assert halted.tally.in_doubt == 0
        assert halted.tally.accepted == simulator.tally(campaign.id)["accepted"]
        assert halted.campaign.halt is not None
        assert "credentials" in halted.campaign.halt.reason
        monkeypatch.setattr(Signer, "head", head)
        simulator.rules([])
        keys.broken.unlink()
        done = worker.send(halted.campaign, settings_for(simulator.url), desk.store())
        theirs = simulator.tally(campaign.id)
    assert done.tally.accepted == theirs["accepted"] == 2000
    assert theirs["copies"] == []
