/** The engine's stores of clients' keys, filled from what is kept of a `jwks_uri`. */
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { describe, expect, it } from 'vitest';
import { keepClientKeysFresh, servingKeys } from '../../src/provider/client-keys.ts';

interface Store {
  stale(): boolean;
  refresh(): Promise<void>;
  selectForVerify(query: object): unknown[];
}

const jwks = async (more: object = {}) => {
  const { publicKey } = await generateKeyPair('ES256', { extractable: true });
  return JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', use: 'sig', ...more }] });
};

/** A store whose URI has this kept of it. */
const storeOf = async (kept: { body?: string; until: number; tooMany?: boolean }) => {
  const provider = new Provider('https://id.example.com', {
    clients: [
      {
        client_id: 'c1',
        token_endpoint_auth_method: 'private_key_jwt',
        jwks_uri: 'https://app.example.com/jwks',
        redirect_uris: ['https://app.example.com/cb'],
      },
    ],
    fetch: servingKeys(() => Promise.reject(new Error('nothing is fetched here'))),
  });
  keepClientKeysFresh(provider, {
    known: () => kept as never,
    load: () => (kept.tooMany ? Promise.reject(new Error('too many')) : Promise.resolve(kept as never)),
  } as never);
  const client = (await provider.Client.find('c1')) as unknown as { asymmetricKeyStore: Store };
  return client.asymmetricKeyStore;
};

describe('a store of a client’s keys', () => {
  it('counts as fresh to whoever has just found it old, or the engine would try without end', async () => {
    const store = await storeOf({ body: await jwks(), until: Date.now() - 60_000 });
    expect(store.stale()).toBe(true);
    await store.refresh();
    expect(store.stale()).toBe(false);
    expect(store.selectForVerify({ alg: 'ES256' })).toHaveLength(1);
  });

  it('does so where nothing could be had, too', async () => {
    const store = await storeOf({ until: Date.now() - 60_000, tooMany: true });
    await expect(store.refresh()).rejects.toThrow();
    expect(store.stale()).toBe(false);
  });

  it('is filled again after keys that the engine has refused', async () => {
    const good = await jwks();
    const kept = { body: good, until: Date.now() + 60_000 };
    const store = await storeOf(kept);
    await store.refresh();
    kept.body = JSON.stringify({ keys: [{ kty: 'oct', k: 'c2VjcmV0', kid: 'k1' }] });
    await expect(store.refresh()).rejects.toThrow();
    kept.body = good;
    await store.refresh();
    expect(store.selectForVerify({ alg: 'ES256' })).toHaveLength(1);
  });
});
