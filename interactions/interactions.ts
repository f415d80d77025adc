/** `/interaction/:uid`: what the engine needs a person for. Each prompt has a file of its own. */
import Router from '@koa/router';
import type Koa from 'koa';
import type { Provider } from 'oidc-provider';
import { AppError } from '../src/errors.ts';
import { routes } from '../src/provider/configuration.ts';
import type { PostedRequests } from '../src/provider/posted-requests.ts';
import { isProtected, pushAgain } from '../src/provider/pushed-again.ts';
import type { Pages } from './pages.ts';
import { redirect } from './redirect.ts';

export type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;

/** Whether the application is on another device (RFC 8628): its request cannot be begun again from here. */
export const isForDevice = ({ deviceCode }: Interaction): boolean => deviceCode !== undefined;

/** What is given back to the engine. */
export type InteractionResult = Parameters<Provider['interactionFinished']>[2];

/** A prompt's page: `show` answers GET, `submit` answers POST; either returns the result once there is one. */
export interface Step {
  show(ctx: Koa.Context, interaction: Interaction): Promise<InteractionResult | undefined>;
  submit(ctx: Koa.Context, interaction: Interaction): Promise<InteractionResult | undefined>;
  /** What the page's script is to ask the browser for, where a passkey will do. */
  passkeyOptions?(ctx: Koa.Context, interaction: Interaction): Promise<object | undefined>;
}

export interface InteractionDeps {
  pages: Pages;
  postedRequests: PostedRequests;
  provider(): Provider;
  /** @throws AppError 503 in a flood of sign-ins for which there is no room */
  assertNoFlood(): void;
  /** Counts a request that is kept for a while. @throws AppError 429 */
  limitPosted(address: string): Promise<void>;
  steps: Record<string, Step>;
}

const toQuery = (parameters: Record<string, unknown>): string => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    for (const one of value === undefined ? [] : [value].flat()) query.append(name, String(one));
  return String(query);
};

export const interactions = ({
  pages,
  postedRequests,
  provider,
  assertNoFlood,
  limitPosted,
  steps,
}: InteractionDeps): Koa.Middleware => {
  const router = new Router({ prefix: '/interaction/:uid' });

  const load = async (ctx: Koa.Context): Promise<{ interaction: Interaction; step: Step }> => {
    const interaction = await provider().interactionDetails(ctx.req, ctx.res);
    const step = steps[interaction.prompt.name];
    if (ctx.path.split('/')[2] !== interaction.uid || !step)
      throw new AppError(400, 'session_not_found', 'the interaction is another one');
    return { interaction, step };
  };

  const finish = async (ctx: Koa.Context, interaction: Interaction, result: InteractionResult) => {
    const isAborted = 'error' in result;
    // Of somebody who was signed in already it is looked at once more whose session that is.
    if (interaction.session?.uid)
      await provider().interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: !isAborted });
    else {
      interaction.result = isAborted ? result : { ...interaction.lastSubmission, ...result };
      await interaction.persist();
    }
    // It is answered: nothing to come back to.
    pages.remember(ctx, { interaction: undefined, client: undefined });
    redirect(ctx, interaction.returnTo);
  };

  router.get('/', async (ctx) => {
    const { interaction, step } = await load(ctx);
    pages.remember(ctx, { interaction: interaction.uid, client: interaction.params.client_id as string });
    const result = await step.show(ctx, interaction);
    if (result) await finish(ctx, interaction, result);
  });

  router.post('/', async (ctx) => {
    // In a flood not even the interaction is read, and what is answered is no page to type in.
    if ((ctx.request.body as { password?: unknown } | undefined)?.password) assertNoFlood();
    const { interaction, step } = await load(ctx);
    const result = await step.submit(ctx, interaction);
    if (result) await finish(ctx, interaction, result);
  });

  router.get('/passkey', async (ctx) => {
    const { interaction, step } = await load(ctx);
    const options = await step.passkeyOptions?.(ctx, interaction);
    if (!options) throw new AppError(404, 'page_not_found', 'Nothing here takes a passkey');
    ctx.set('Cache-Control', 'no-store');
    ctx.body = options;
  });

  router.post('/abort', async (ctx) => {
    const { interaction } = await load(ctx);
    await finish(ctx, interaction, { error: 'access_denied', error_description: 'End-User aborted interaction' });
  });

  // Somebody else is at the keyboard: the same request again, and its sign-in page cannot be skipped.
  router.post('/switch', async (ctx) => {
    const { interaction } = await load(ctx);
    await limitPosted(ctx.ip);
    // What the application insists on stays.
    const consents = String(interaction.params.prompt ?? '')
      .split(' ')
      .includes('consent');
    const {
      login_hint: _hint,
      id_token_hint: _token,
      request: _object,
      request_uri: _uri,
      ...kept
    } = interaction.params;
    const parameters = { ...kept, prompt: consents ? 'login consent' : 'login' };
    pages.remember(ctx, { email: '', another: 'next' });
    redirect(
      ctx,
      isProtected(interaction)
        ? await pushAgain(provider(), interaction, parameters)
        : `${routes.authorization}?posted=${await postedRequests.keep(toQuery(parameters))}`,
    );
  });

  return router.routes() as unknown as Koa.Middleware;
};
