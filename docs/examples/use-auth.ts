/**
 * pkce.ts in Vue.
 *
 *   createApp(App).use(authPlugin({ issuer: 'https://id.example.com', clientId: '…', … })).mount('#app');
 *
 *   <script setup lang="ts">
 *   const { user, isLoading, signIn, signOut, accessToken } = useAuth();
 *   </script>
 */
import { type InjectionKey, inject, type Plugin, readonly, ref, shallowRef } from 'vue';
import { createAuth, type Settings, type User } from './pkce.ts';

const createState = (settings: Omit<Settings, 'store' | 'onChange'>) => {
  const user = shallowRef<User>();
  const error = shallowRef<Error>();
  const isLoading = ref(false);
  const auth = createAuth({
    ...settings,
    store: sessionStorage,
    onChange: (next) => {
      user.value = next;
    },
  });

  const url = new URL(location.href);
  if (url.searchParams.has('state') && url.href.split('?')[0] === settings.redirectUri) {
    isLoading.value = true;
    auth
      .complete(url)
      // The code is used up; it has no business in the history or in a Referer header.
      .then(() => history.replaceState(null, '', '/'))
      .catch((reason: Error) => {
        error.value = reason;
      })
      .finally(() => {
        isLoading.value = false;
      });
  }

  return {
    user: readonly(user),
    /** While the code that the browser came back with is exchanged. */
    isLoading: readonly(isLoading),
    error: readonly(error),
    signIn: async () => location.assign(await auth.begin()),
    signOut: () => location.assign(auth.signOut()),
    /** For the `Authorization` header, and for nothing that is stored. */
    accessToken: auth.accessToken,
  };
};

const authKey: InjectionKey<ReturnType<typeof createState>> = Symbol('auth');

export const authPlugin = (settings: Omit<Settings, 'store' | 'onChange'>): Plugin => ({
  install: (app) => {
    app.provide(authKey, createState(settings));
  },
});

export const useAuth = () => {
  const state = inject(authKey);
  if (!state) throw new Error('useAuth is called in an application that does not use authPlugin');
  return state;
};
