#!/usr/bin/env bash
# The REST API from end to end with curl: register, verify, sign in, see who that is, refresh, sign out; then a machine.
#
#   docs/examples/walk.sh                                              # a development server on http://localhost:3000
#   BASE_URL=https://id.example.com EMAIL=… PASSWORD=… VERIFY_TOKEN=… docs/examples/walk.sh
#   CLIENT_ID=… CLIENT_SECRET=… SCOPE=orders:read docs/examples/walk.sh  # the machine's part too
set -euo pipefail

base=${BASE_URL:-http://localhost:3000}
email=${EMAIL:-walker-$RANDOM$RANDOM@example.com}
password=${PASSWORD:-correct horse battery staple}

# A member of a flat JSON object. `jq -r ".$1"` does it better; this way curl is all that you need.
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }
# --fail-with-body: a refusal ends the script, and its problem+json is shown. Secrets go through standard input, since whatever
# stands on a command line can be read by every user of the machine.
call() { curl --silent --show-error --fail-with-body "$@"; }
json() { call --header 'content-type: application/json' --data @- "$base$1" <<<"$2"; }
say() { printf '\n# %s\n' "$*"; }

say "Register $email"
json /auth/register "{ \"email\": \"$email\", \"password\": \"$password\", \"name\": \"Ada Walker\" }"

# The answer says nothing of the token: it is in the mail. A development server shows its mail at /dev/mail.json.
token=${VERIFY_TOKEN:-}
for _ in $(seq 50); do
  [ -n "$token" ] && break
  sleep 0.2
  token=$(call "$base/dev/mail.json" | tr '{' '\n' | grep --fixed-strings "\"$email\"" | sed -n 's/.*verify?token=\([A-Za-z0-9_-]*\).*/\1/p' | head -n 1 || true)
done

say 'Verify the address'
json /auth/verify "{ \"token\": \"$token\" }"

say 'Sign in'
session=$(json /auth/login "{ \"email\": \"$email\", \"password\": \"$password\" }")
access=$(field accessToken <<<"$session")
refresh=$(field refreshToken <<<"$session")

say 'Who is that?'
call --header @- "$base/auth/me" <<<"Authorization: Bearer $access"

say 'Refresh: the old refresh token is used up, the new one takes its place'
session=$(json /auth/refresh "{ \"refreshToken\": \"$refresh\" }")
access=$(field accessToken <<<"$session")
refresh=$(field refreshToken <<<"$session")
json /auth/validate "{ \"token\": \"$access\" }"

say 'Sign out: the access token is dead at once, although its signature is good for minutes yet'
json /auth/logout "{ \"refreshToken\": \"$refresh\" }"
json /auth/validate "{ \"token\": \"$access\" }"

if [ -n "${CLIENT_ID:-}" ]; then
  say 'A machine: a token for itself, and what the service says of it'
  # client_credentials (RFC 6749 section 4.4), then introspection (RFC 7662), which any confidential client may ask for.
  client="user = \"$CLIENT_ID:$CLIENT_SECRET\""
  machine=$(call --config - --data grant_type=client_credentials --data-urlencode "scope=${SCOPE:-}" "$base/oauth/token" <<<"$client")
  call --config - "$base/oauth/introspect" <<<"$client
data-urlencode = \"token=$(field access_token <<<"$machine")\""
fi
echo
