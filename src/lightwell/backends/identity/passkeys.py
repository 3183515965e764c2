"""Passkeys by the library webauthn: user verification required, discoverable, no attestation.

What a browser answers is hostile until verified; anything the library trips over is a refusal. The library is
loaded when somebody first needs it: it brings a certificate stack along.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from lightwell.access.context import Tenant
from lightwell.domain.people.model import Passkey, Person
from lightwell.domain.people.ports import Site
from lightwell.kernel.errors import Refused

log = logging.getLogger("lightwell.identity")

TIMEOUT_MS: Final = 300_000


def _refused(error: Exception) -> Refused:
    log.info("a passkey answer was refused: %s", type(error).__name__)
    return Refused("The passkey's answer is not one to what was asked.", remedy="Try again.")


class WebAuthnCeremonies:
    """`domain.people.ports.PasskeyCeremonies`."""

    def creation(
        self, site: Site, person: Person, tenant: Tenant, known: tuple[Passkey, ...]
    ) -> tuple[dict[str, Any], bytes]:
        """See the port."""
        import webauthn
        from webauthn.helpers.structs import (
            AuthenticatorSelectionCriteria,
            PublicKeyCredentialDescriptor,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        options = webauthn.generate_registration_options(
            rp_id=site.name,
            rp_name=f"Lightwell {tenant.label}".strip(),
            user_name=person.login,
            user_display_name=person.name or person.login,
            user_id=person.person_id.bytes,
            timeout=TIMEOUT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                require_resident_key=True,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=each.credential_id) for each in known
            ],
        )
        return json.loads(webauthn.options_to_json(options)), options.challenge

    def created(self, site: Site, challenge: bytes, answer: dict[str, Any]) -> Passkey:
        """See the port."""
        import webauthn

        try:
            made = webauthn.verify_registration_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=site.name,
                expected_origin=[site.origin],
                require_user_verification=True,
            )
        except Exception as error:  # noqa: BLE001 - a hostile answer may break anything in there
            raise _refused(error) from None
        return Passkey(
            made.credential_id, made.credential_public_key, made.sign_count, site=site.name
        )

    def request(self, site: Site) -> tuple[dict[str, Any], bytes]:
        """See the port."""
        import webauthn
        from webauthn.helpers.structs import UserVerificationRequirement

        options = webauthn.generate_authentication_options(
            rp_id=site.name,
            timeout=TIMEOUT_MS,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return json.loads(webauthn.options_to_json(options)), options.challenge

    def credential_id(self, answer: dict[str, Any]) -> bytes:
        """See the port."""
        from webauthn.helpers import parse_authentication_credential_json

        try:
            return parse_authentication_credential_json(answer).raw_id
        except Exception as error:  # noqa: BLE001 - a hostile answer may break anything in there
            raise _refused(error) from None

    def signed(self, site: Site, challenge: bytes, answer: dict[str, Any], passkey: Passkey) -> int:
        """See the port."""
        import webauthn

        try:
            if passkey.site != site.name:
                raise ValueError("made for another site")
            done = webauthn.verify_authentication_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=site.name,
                expected_origin=[site.origin],
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except Exception as error:  # noqa: BLE001 - a hostile answer may break anything in there
            raise _refused(error) from None
        return done.new_sign_count
