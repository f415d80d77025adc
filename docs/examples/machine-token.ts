/** A token for an application that acts for itself (client_credentials, RFC 6749 section 4.4), kept until shortly before it expires. */

export interface Machine {
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** Separated by spaces; what the client is registered for. Ask for what this job needs and no more. */
  scope: string;
}

export const createMachineToken = ({ issuer, clientId, clientSecret, scope }: Machine) => {
  let current: Promise<{ token: string; renewAt: number }> | undefined;

  const request = async (): Promise<{ token: string; renewAt: number }> => {
    const response = await fetch(`${issuer}/oauth/token`, {
      method: 'POST',
      // RFC 6749 section 2.3.1: both halves are form-encoded before they are joined.
      headers: {
        authorization: `Basic ${btoa(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`)}`,
      },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope }),
      signal: AbortSignal.timeout(10_000),
    });
    const answer = (await response.json()) as Record<string, string> & { expires_in: number };
    if (!response.ok) throw new Error(`no token: ${answer.error} ${answer.error_description ?? ''}`);
    // RFC 6749 section 3.3: of several scopes, those that the client may not have are left out. Better to learn of it here.
    const granted = answer.scope?.split(' ') ?? [];
    const missing = scope.split(' ').filter((name) => !granted.includes(name));
    if (missing.length) throw new Error(`no token: the client may not have ${missing.join(' ')}`);
    // Renewed a little early, so that no token expires on its way.
    return { token: answer.access_token ?? '', renewAt: Date.now() + answer.expires_in * 900 };
  };

  /** The same token for all who ask while it is good, and one request for all who ask while there is none. */
  return async (): Promise<string> => {
    const known = current;
    const answer = await known?.catch(() => undefined);
    // Whoever wakes first asks anew; for the others `current` is a newer one by then.
    if (current === known && (!answer || Date.now() >= answer.renewAt)) current = request();
    return (await (current as ReturnType<typeof request>)).token;
  };
};
