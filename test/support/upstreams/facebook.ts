/**
 * Facebook: https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow and
 * …/docs/graph-api/guides/secure-requests. The token endpoint and `/me` are below a version; errors are an object; an app that
 * demands proof refuses `/me` without `appsecret_proof`; the browser comes back with `#_=_`. It doesn't say whether an address
 * is verified, and some people have none.
 */
import { createHmac, randomBytes } from 'node:crypto';
import {
  type Account,
  type Peer,
  type PeerAnswer,
  type PeerRequest,
  pkceMatches,
  redirectTo,
  startPeer,
} from './peer.ts';

export const facebookAccount: Account = {
  login: 'grace',
  id: '10158399812345678',
  email: 'grace@mail.example',
  name: 'Grace Hopper',
};

/** In paths; the preset's own must be the same. */
export const graphVersion = 'v23.0';

const refusal = (message: string, code: number, type = 'OAuthException', status = 400): PeerAnswer => ({
  status,
  body: { error: { message, type, code, fbtrace_id: randomBytes(8).toString('base64url') } },
});

/** Only what `fields` asks for; `id` is always there. */
const selected = ({ id, name, email }: Account, fields = 'id,name') => {
  const everything: Record<string, unknown> = {
    name,
    email,
    first_name: name?.split(' ')[0],
    last_name: name?.split(' ').at(-1),
    picture: {
      data: { height: 50, is_silhouette: false, url: `https://platform-lookaside.fbsbx.example/${id}`, width: 50 },
    },
  };
  const wanted = fields.split(',').filter((field) => everything[field] !== undefined);
  return { ...Object.fromEntries(wanted.map((field) => [field, everything[field]])), id };
};

export const startFacebook = (accounts: Account[] = [facebookAccount], version = graphVersion): Promise<Peer> => {
  const people = new Map<string, Account>();
  const token =
    (peer: Peer) =>
    ({ form, query }: PeerRequest): PeerAnswer => {
      const { client_id, client_secret, code, redirect_uri, code_verifier } = { ...query, ...form };
      if (client_id !== peer.clientId)
        return refusal('Error validating application. Cannot get application info due to a system error.', 101);
      if (client_secret !== peer.clientSecret) return refusal('Error validating client secret.', 1);
      const pending = peer.redeemCode(code);
      if (!pending) return refusal('This authorization code has been used.', 100);
      if (redirect_uri !== pending.parameters.redirect_uri)
        return refusal(
          'Error validating verification code. Please make sure your redirect_uri is identical to the one you used in the OAuth dialog request',
          100,
        );
      if (!pkceMatches(pending, code_verifier)) return refusal('Invalid code verifier.', 100);
      const access_token = `EAA${randomBytes(60).toString('hex')}`;
      people.set(access_token, pending.account);
      return { body: { access_token, token_type: 'bearer', expires_in: 5_183_944 } };
    };
  return startPeer(
    {
      name: 'Facebook',
      host: '127.0.0.1',
      authorizationPath: `/${version}/dialog/oauth`,
      consented: (pending, peer) => ({ code: peer.issueCode(pending) }),
      declined: () => ({
        error_reason: 'user_denied',
        error: 'access_denied',
        error_code: '200',
        error_description: 'Permissions error',
      }),
      deliver: ({ redirect_uri = '' }, response) => redirectTo(redirect_uri, response, '#_=_'),
      handlers: (peer) => ({
        [`GET /${version}/oauth/access_token`]: token(peer),
        [`POST /${version}/oauth/access_token`]: token(peer),
        [`GET /${version}/me`]: ({ query, headers }) => {
          const accessToken = query.access_token ?? headers.authorization?.replace(/^(Bearer|OAuth) /i, '') ?? '';
          const account = people.get(accessToken);
          if (!account)
            return refusal('Invalid OAuth access token - Cannot parse access token', 190, 'OAuthException', 401);
          const proof = createHmac('sha256', peer.clientSecret).update(accessToken).digest('hex');
          if (!query.appsecret_proof)
            return refusal(
              'API calls from the server require an appsecret_proof argument',
              100,
              'GraphMethodException',
            );
          if (query.appsecret_proof !== proof)
            return refusal('Invalid appsecret_proof provided in the API argument', 100, 'GraphMethodException');
          return { body: selected(account, query.fields) };
        },
      }),
    },
    accounts,
  );
};
