-- Whether signing out here leads to signing out at the identity provider somebody came through.

ALTER TABLE identity_provider ADD end_session boolean NOT NULL DEFAULT false;
