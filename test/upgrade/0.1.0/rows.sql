insert into users (id, email, name, role_id, email_verified_at, password_hash)
select '01900000-0000-7000-8000-000000000001', 'ada@example.com', 'Ada', id, now(), '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA'
from roles where name = 'user';
insert into clients (client_id) values ('acme');
insert into sessions (id_hash, uid, user_id, payload, expires_at)
values ('session', 'uid', '01900000-0000-7000-8000-000000000001', '{}', now() + interval '1 day');
insert into grants (id, user_id, client_id, session_uid, payload, expires_at)
values ('grant', '01900000-0000-7000-8000-000000000001', 'acme', 'uid', '{}', now() + interval '1 day');
insert into refresh_tokens (token_hash, user_id, client_id, grant_id, payload, expires_at)
values ('token', '01900000-0000-7000-8000-000000000001', 'acme', 'grant', '{}', now() + interval '1 day');
insert into oidc_payloads (model, id_hash, payload, expires_at) values ('AccessToken', 'opaque', '{}', now() + interval '1 day');
insert into consents (user_id, client_id, scopes) values ('01900000-0000-7000-8000-000000000001', 'acme', '{openid}');
insert into audit_logs (id, actor_type, action) values ('01900000-0000-7000-8000-000000000002', 'operator', 'user.create');
insert into totp_devices (id, user_id, name, secret_encrypted, expires_at)
values ('01900000-0000-7000-8000-000000000003', '01900000-0000-7000-8000-000000000001', 'Phone', '\x01', now() + interval '1 day');
