/** What the pages of the demo application are given. */

/** The demo relying party before sign-in. */
export interface DemoHomeView {
  signInHref: string;
  /** A key under `notices`. */
  notice?: string;
}

/** The demo relying party after sign-in. `actions` are POSTs without fields. */
export interface DemoSignedInView {
  claims: Record<string, unknown>;
  userinfo?: Record<string, unknown>;
  tokens: { label: string; value: string }[];
  actions: { refresh: string; userinfo: string; signOut: string };
  /** A key under `notices`. */
  notice?: string;
}

export interface DemoViews {
  'demo-home': DemoHomeView;
  'demo-signed-in': DemoSignedInView;
}
