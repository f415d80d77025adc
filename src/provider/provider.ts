/** Builds an oidc-provider instance for a key set. Everything that hangs on an instance is attached here. */
import { errors, Provider } from 'oidc-provider';
import type { ClientKeys } from '../../adapters/client-keys.ts';
import { orOrphaned, orUnavailable } from '../../adapters/oidc.ts';
import { startRotation } from '../../adapters/oidc-storage.ts';
import { createCookieKeys } from '../cookie-keys.ts';
import type { KeySet } from '../keys/key-set.ts';
import type { Log } from '../log.ts';
import type { QueueLogout } from '../sessions/sessions.commands.ts';
import { keepBuiltClients } from './built-clients.ts';
import { attachCiba } from './ciba.ts';
import { isSecretOf, rememberUsedValues, type SecretHolder } from './client-authentication.ts';
import { keepClientKeysFresh } from './client-keys.ts';
import { buildConfiguration, type ProviderParts, routes } from './configuration.ts';
import { attachDeviceFlow, type UserCodeLimits } from './device-flow.ts';
import { type EventParts, recordProviderEvents } from './events.ts';
import { joinWrites } from './grant-handlers.ts';
import { acceptEarlierHints } from './id-token-hints.ts';
import { machineScope, userScope } from './issue-tokens.ts';
import { attachJwtBearer } from './jwt-bearer.ts';
import { certificateOrigin, sendPeopleToIssuer } from './mutual-tls.ts';
import { attachOrganizations } from './organization-parameter.ts';
import { registerPasswordGrant, type SignInWith } from './password-grant.ts';
import { accessOfPerson } from './person-access.ts';
import { answerPlainIntrospection } from './plain-introspection.ts';
import { answerPlainRefreshes } from './plain-refreshes.ts';
import { answerPlainTokenRequests } from './plain-token-requests.ts';
import { answerPlainUserinfo } from './plain-userinfo.ts';
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
interface EngineClient extends SecretHolder {
  clientId: string;
  vouched_for?: boolean;
  clientAuthMethod: string;
  compareClientSecret(secret: string): boolean | Promise<boolean>;
  backchannelLogout(sub: string, sid: string): Promise<void>;
}

/** The parts of the engine's AccessToken that are looked at. */
interface EngineToken {
  clientId?: string;
  accountId?: string;
  aud?: string;
  scope?: string | undefined;
  save(): Promise<string>;
}

export const createProvider = (deps: ProviderDeps, keySet: KeySet): Instance => {
  const { config, db, access, queueLogout } = deps;
  const configuration = buildConfiguration(deps, keySet);
  const provider = new Provider(config.JWT_ISSUER, configuration);
  provider.keys = createCookieKeys(deps.secrets.macs('cookie', '1'));
  pinOrigin(provider, config.JWT_ISSUER, certificateOrigin(config));
  const { resourceIndicators = {}, introspection = {} } = configuration.features ?? {};
  answerPlainTokenRequests(provider, { access, config, resourceIndicators });
  answerPlainRefreshes(provider);
  answerPlainIntrospection(provider, introspection);
  answerPlainUserinfo(provider, configuration);
  rememberUsedValues(provider);
  keepBuiltClients(provider, (id) => orUnavailable(deps.findClientMetadata(id)));
  keepClientKeysFresh(provider, deps.clientKeys);
  sendPeopleToIssuer(provider, config, routes);
  hideUnpublishedKeys(provider, keySet);
  acceptEarlierHints(provider, keySet);
  stopUnaskedRedirects(provider, { db, show: deps.pages.stopped });
  recordProviderEvents(provider, deps);
  joinWrites(provider);
  registerPasswordGrant(provider, { access, config }, deps.signIn);
  registerTokenExchange(provider, { db, access, config, keySet });
  attachJwtBearer(provider);
  attachDeviceFlow(provider, deps.userCodeLimits);
  const deliverPing = attachCiba(provider);

  const prototype = provider.Client.prototype as unknown as EngineClient;

  // The engine takes basic and post for one another; a client is held to what it registered.
  prototype.compareClientSecret = function (secret) {
    const used = Provider.ctx?.get('authorization') ? 'client_secret_basic' : 'client_secret_post';
    return isSecretOf(this, secret) && used === this.clientAuthMethod;
  };

  // What a token passes on follows the person's roles, at each refresh anew.
  const tokenPrototype = provider.AccessToken.prototype as unknown as EngineToken;
  const saveToken = tokenPrototype.save;
  tokenPrototype.save = async function () {
    const { accountId, aud, scope } = this;
    if (accountId && aud && scope)
      this.scope = userScope(await accessOfPerson(access, this, accountId), scope.split(' ')).join(' ') || undefined;
    const value = await saveToken.call(this);
    await orOrphaned(startRotation());
    return value;
  };

  // After that, so that the organization is known before it is asked what the person holds.
  attachOrganizations(provider);

  // RFC 6749 section 3.3: a scope that differs from what was asked for must be told, and none cannot be.
  const machinePrototype = provider.ClientCredentials.prototype as unknown as EngineToken;
  const saveMachineToken = machinePrototype.save;
  machinePrototype.save = async function () {
    const { clientId, scope } = this;
    if (clientId && scope) this.scope = (await machineScope(access, scope, clientId)) || undefined;
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
