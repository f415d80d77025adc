/**
 * pkce.ts in React.
 *
 *   const auth = { issuer: 'https://id.example.com', clientId: '…', redirectUri: `${location.origin}/callback`, … };
 *   createRoot(root).render(<AuthProvider settings={auth}><App /></AuthProvider>);
 *
 *   const { user, isLoading, signIn, signOut, accessToken } = useAuth();
 */
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from 'react';
import { createAuth, type Settings, type User } from './pkce.ts';

interface AuthState {
  user: User | undefined;
  /** While the code that the browser came back with is exchanged. */
  isLoading: boolean;
  error: Error | undefined;
  signIn(): Promise<void>;
  signOut(): void;
  /** For the `Authorization` header, and for nothing that is stored. */
  accessToken(): Promise<string | undefined>;
}

const AuthContext = createContext<AuthState | undefined>(undefined);

export const AuthProvider = ({
  settings,
  children,
}: {
  /** Made outside of the component: another object would be another sign-in. */
  settings: Omit<Settings, 'store' | 'onChange'>;
  children: ReactNode;
}) => {
  const [user, setUser] = useState<User>();
  const [error, setError] = useState<Error>();
  const [isLoading, setLoading] = useState(() => new URLSearchParams(location.search).has('state'));
  const auth = useMemo(() => createAuth({ ...settings, store: sessionStorage, onChange: setUser }), [settings]);

  useEffect(() => {
    const url = new URL(location.href);
    if (!url.searchParams.has('state') || url.href.split('?')[0] !== settings.redirectUri) return setLoading(false);
    auth
      .complete(url)
      // The code is used up; it has no business in the history or in a Referer header.
      .then(() => history.replaceState(null, '', '/'))
      .catch(setError)
      .finally(() => setLoading(false));
  }, [auth, settings]);

  const value = useMemo<AuthState>(
    () => ({
      user,
      isLoading,
      error,
      signIn: async () => location.assign(await auth.begin()),
      signOut: () => location.assign(auth.signOut()),
      accessToken: auth.accessToken,
    }),
    [auth, user, isLoading, error],
  );
  return <AuthContext value={value}>{children}</AuthContext>;
};

export const useAuth = (): AuthState => {
  const state = useContext(AuthContext);
  if (!state) throw new Error('useAuth is called outside of AuthProvider');
  return state;
};
