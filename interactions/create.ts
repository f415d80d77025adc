/** The `create` prompt (Initiating User Registration via OpenID Connect 1.0): registration comes before the sign-in page. */
import type { Step } from './interactions.ts';
import type { Pages } from './pages.ts';

export const create = ({ pages }: { pages: Pages }): Step => {
  const goOn: Step['show'] = async (ctx) => {
    pages.remember(ctx, { creates: true, email: '' });
    return { create: {} };
  };
  return { show: goOn, submit: goOn };
};
