/** `/account/linked`: accounts at identity providers that one signs in with. */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import { AppError } from '../../src/errors.ts';
import { beginAttempt } from '../../src/federation/attempts.ts';
import { unlinkIdentity } from '../../src/federation/identities.commands.ts';
import { hasOwnWayIn, listIdentities } from '../../src/federation/identities.queries.ts';
import { ProviderId } from '../../src/federation/identity-providers.ts';
import { offeredNames } from '../../src/federation/social.routes.ts';
import type { Visitor } from '../pages.ts';
import { problemOf, type SocialDeps } from '../social-sign-in.ts';
import type { Problem } from '../view-props.ts';
import { linkedPath, passwordPath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

const notices = new Set(['connected', 'disconnected']);
const IdForm = z.object({ id: z.uuid() });
const ProviderForm = z.object({ provider: ProviderId });

export const mountLinked = (router: Router, { signedIn, recent, redirect }: AccountFrame, deps: SocialDeps): void => {
  const { pages, people, attempts, cookie, log } = deps;
  const { providers } = attempts;

  const page = async (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
    const identities = await listIdentities(people.db, user.id);
    const offered = await offeredNames(providers);
    const hasOwn = await hasOwnWayIn(people.db, user.id);
    const isLast = (id: string) =>
      !hasOwn && !identities.some((other) => other.id !== id && offered.has(other.providerId));
    const notice = String(ctx.query.notice ?? '');
    pages.show(
      ctx,
      'linked',
      {
        identities: identities.map(({ id, providerId, email, createdAt, lastUsedAt }) => ({
          id,
          provider: offered.get(providerId) ?? providerId,
          email: email ?? '',
          linkedAt: createdAt,
          usedAt: lastUsedAt,
          last: isLast(id),
        })),
        providers: [...offered].map(([id, name]) => ({ id, name })),
        linkAction: `${linkedPath}/link`,
        unlinkAction: `${linkedPath}/unlink`,
        passwordHref: passwordPath,
        ...(notices.has(notice) ? { notice } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length && ctx.status >= 400 ? ctx.status : 200 },
    );
  };

  /** What the callback says went wrong, in words of ours alone. */
  const problemsOf = async (ctx: Koa.Context): Promise<Problem[]> => {
    const code = String(ctx.query.problem ?? '');
    if (!/^social[A-Z][A-Za-z]{1,30}$/.test(code)) return [];
    const provider = (await offeredNames(providers)).get(String(ctx.query.provider ?? ''));
    return provider === undefined ? [] : [{ code, values: { provider } }];
  };

  router.get(
    '/linked',
    signedIn(async (ctx, visitor) => page(ctx, visitor, await problemsOf(ctx))),
  );

  router.post(
    '/linked/link',
    recent(async (ctx, visitor) => {
      const { provider: id } = pages.form(ctx, ProviderForm);
      const provider = await providers.find(id);
      if (!provider) throw new AppError(404, 'page_not_found', 'There is no such identity provider');
      const { user, sessionUid } = visitor;
      try {
        const purpose = { kind: 'link', userId: user.id, sessionUid } as const;
        const { url } = await beginAttempt(attempts, provider, { browser: cookie.keep(ctx), purpose });
        redirect(ctx, url);
      } catch (error) {
        const problem = { code: problemOf(error), values: { provider: provider.metadata.name } };
        log.warn({ err: error, provider: id }, 'an identity provider could not be used');
        ctx.status = 503;
        await page(ctx, visitor, [problem]);
      }
    }),
  );

  router.post(
    '/linked/unlink',
    recent(async (ctx, visitor) => {
      const { id } = pages.form(ctx, IdForm);
      const offered = await offeredNames(providers);
      try {
        const { user, sessionUid, actor } = visitor;
        await unlinkIdentity(people, actor, { userId: user.id, sessionUid, id, offered });
        redirect(ctx, `${linkedPath}?notice=disconnected`);
      } catch (error) {
        if (!(error instanceof AppError) || error.status >= 500) throw error;
        ctx.status = error.status;
        await page(ctx, visitor, [{ code: error.code === 'last_way_in' ? 'lastWayIn' : 'notFound' }]);
      }
    }),
  );
};
