/** Builds an oidc-provider instance for a key set. Everything that hangs on an instance is attached here. */
import { errors, Provider } from 'oidc-provider';
import type { ClientKeys } from '../../adapters/client-keys.ts';
import type { KeySet } from '../keys/key-set.ts';
import type { Log } from '../log.ts';
import { permissionsOf } from '../roles/permissions.ts';
import { equalInConstantTime, hashToken } from '../secrets.ts';
import type { QueueLogout } from '../sessions/sessions.commands.ts';
import { attachCiba } from './ciba.ts';
import { rememberUsedValues } from './client-authentication.ts';
import { keepClientKeysFresh } from './client-keys.ts';
import { buildConfiguration, type ProviderParts, routes } from './configuration.ts';
import { attachDeviceFlow, type UserCodeLimits } from './device-flow.ts';
import { type EventParts, recordProviderEvents } from './events.ts';
import { acceptEarlierHints } from './id-token-hints.ts';
import { machineScope, userScope } from './issue-tokens.ts';
import { attachJwtBearer } from './jwt-bearer.ts';
import { certificateOrigin, sendPeopleToIssuer } from './mutual-tls.ts';
import { registerPasswordGrant, type SignInWith } from './password-grant.ts';
import { accessOfPerson } from './person-access.ts';
import { hideUnpublishedKeys } from './published-keys.ts';
import { pinOrigin } from './requests.ts';
import { registerTokenExchange } from './token-exchange.ts';
import { stopUnaskedRedirects } from './unasked-redirects.ts';

export interface ProviderDeps extends ProviderParts, EventParts {
  log: Log;
  /** Outlives instances, as what was fetched does. */
  clientKeys: ClientKeys;
  queueLogout: QueueLogout;
  signIn: SignInWith;
  userCodeLimits: UserCodeLimits;
}

export interface Instance {
  provider: Provider;
  /** Sends a logout token to the client (OpenID Connect Back-Channel Logout 1.0 section 2.5). @throws when it is not accepted */
  deliverLogout(logout: { clientId: string; sub: string; sid: string }): Promise<void>;
  /** Tells a client that a decision is there (CIBA section 10.2). @throws when it is not accepted */
  deliverPing(ping: { clientId: string; authReqId: string }): Promise<void>;
}

/** The parts of the engine's Client that are replaced; its published types leave them out. */
interface EngineClient {
  clientId: string;
  clientSecret?: string;
  previous_secret_hash?: string;
  vouched_for?: boolean;
  clientAuthMethod: string;
  compareClientSecret(secret: string): boolean | Promise<boolean>;
  backchannelLogout(sub: string, sid: string): Promise<void>;
}

/** As long as a hash, and never one: its last character would have to stand for four bits. */
const noHash = '-'.repeat(hashToken('').length);

/** The parts of the engine's AccessToken that are looked at. */
interface EngineToken {
  clientId?: string;
  accountId?: string;
  aud?: string;
  scope?: string | undefined;
  save(): Promise<string>;
}

export const createProvider = (deps: ProviderDeps, keySet: KeySet): Instance => {
  const { config, db, queueLogout } = deps;
  const provider = new Provider(config.JWT_ISSUER, buildConfiguration(deps, keySet));
  pinOrigin(provider, config.JWT_ISSUER, certificateOrigin(config));
  rememberUsedValues(provider);
  keepClientKeysFresh(provider, deps.clientKeys);
  sendPeopleToIssuer(provider, config, routes);
  hideUnpublishedKeys(provider, keySet);
  acceptEarlierHints(provider, keySet);
  stopUnaskedRedirects(provider, { db, show: deps.pages.stopped });
  recordProviderEvents(provider, deps);
  registerPasswordGrant(provider, { db, config }, deps.signIn);
  registerTokenExchange(provider, { db, config, keySet });
  attachJwtBearer(provider);
  attachDeviceFlow(provider, deps.userCodeLimits);
  const deliverPing = attachCiba(provider);

  const prototype = provider.Client.prototype as unknown as EngineClient;

  // The engine takes basic and post for one another; a client is held to what it registered. Secrets are random, so
  // one SHA-256 suffices; the engine knows the stored hash as the secret. While a secret is rotated there are two, and
  // both are compared whichever it is.
  prototype.compareClientSecret = function (secret) {
    const used = Provider.ctx?.get('authorization') ? 'client_secret_basic' : 'client_secret_post';
    const given = hashToken(secret);
    const matches = [this.clientSecret, this.previous_secret_hash].map((hash) =>
      equalInConstantTime(given, hash ?? noHash),
    );
    return used === this.clientAuthMethod && matches.includes(true);
  };

  // What a token passes on follows the person's roles, at each refresh anew.
  const tokenPrototype = provider.AccessToken.prototype as unknown as EngineToken;
  const saveToken = tokenPrototype.save;
  tokenPrototype.save = async function () {
    const { accountId, aud, scope } = this;
    if (accountId && aud && scope)
      this.scope = userScope(await accessOfPerson(db, this, accountId), scope.split(' ')).join(' ') || undefined;
    return saveToken.call(this);
  };

  // RFC 6749 section 3.3: a scope that differs from what was asked for must be told, and none cannot be.
  const machinePrototype = provider.ClientCredentials.prototype as unknown as EngineToken;
  const saveMachineToken = machinePrototype.save;
  machinePrototype.save = async function () {
    const { clientId, scope } = this;
    if (clientId && scope && permissionsOf(scope.split(' ')).length)
      this.scope = (await machineScope(db, scope.split(' '), clientId)).join(' ') || undefined;
    const wanted = Provider.ctx?.oidc.params?.scope;
    if (wanted && !this.scope) throw new errors.InvalidScope('requested scope is not allowed', String(wanted));
    return saveMachineToken.call(this);
  };

  // A sign-out must not wait for somebody else's server: the engine's delivery becomes a job.
  const deliver = prototype.backchannelLogout;
  prototype.backchannelLogout = function (sub, sid) {
    return queueLogout(db, { clientId: this.clientId, sub, sid, vouchedFor: this.vouched_for !== false });
  };

  return {
    provider,
    deliverPing,
    deliverLogout: async ({ clientId, sub, sid }) => {
      const client = (await provider.Client.find(clientId)) as unknown as
        | (EngineClient & { backchannelLogoutUri?: string })
        | undefined;
      if (client?.backchannelLogoutUri) await deliver.call(client, sub, sid);
    },
  };
};
