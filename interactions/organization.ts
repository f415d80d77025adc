/** The `organization` prompt: which of one's organizations one signs in for. */
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../db/connect.ts';
import type { Client } from '../src/clients/clients.queries.ts';
import { AppError } from '../src/errors.ts';
import {
  chooseOrganization,
  type OrganizationAnswer,
  type OrganizationChoice,
  organizationPrompt,
  wantedOrganization,
} from '../src/provider/organization-parameter.ts';
import { findUserAccess } from '../src/roles/access.queries.ts';
import { findUser, type User } from '../src/users/users.queries.ts';
import { type Interaction, isForDevice, type Step } from './interactions.ts';
import type { Pages } from './pages.ts';
import type { Problem } from './view-props.ts';

const ChoiceForm = z.object({ organization: z.uuid().optional() });

/** What a request and the answers in it so far come to for this account; undefined when it is for no organization. */
export const organizationFor = async (
  db: Db,
  { params, lastSubmission }: Pick<Interaction, 'params' | 'lastSubmission'>,
  client: Pick<Client, 'requireOrganization'>,
  accountId: string,
): Promise<OrganizationChoice | undefined> => {
  const wanted = wantedOrganization(params, { require_organization: client.requireOrganization });
  if (wanted === undefined) return undefined;
  const answer = lastSubmission?.[organizationPrompt] as OrganizationAnswer | undefined;
  const access = (await findUserAccess(db, accountId)) ?? { organizations: [] };
  return chooseOrganization(access, wanted, answer?.accountId === accountId ? answer.id : undefined);
};

/** Told to the application, once the person goes back there; the same whatever the reason is. */
const refused = {
  error: 'access_denied',
  error_description: 'the End-User does not belong to an organization that this is for',
};

export const organization = ({ db, pages }: { db: Db; pages: Pages }): Step => {
  const load = async (interaction: Interaction) => {
    const { session, params } = interaction;
    const [user, client] = await Promise.all([
      session ? findUser(db, session.accountId) : undefined,
      pages.client(params.client_id as string),
    ]);
    const choice = user && client && (await organizationFor(db, interaction, client, user.id));
    if (!choice) throw new AppError(400, 'session_not_found', 'the session or the client is gone');
    return { user, client, choice };
  };

  const show = (
    ctx: Koa.Context,
    interaction: Interaction,
    { user, client, choice }: { user: User; client: Client; choice: OrganizationChoice },
    problems: Problem[] = [],
  ) => {
    const action = `/interaction/${interaction.uid}`;
    pages.show(
      ctx,
      'organization',
      {
        action,
        cancelAction: `${action}/abort`,
        ...(isForDevice(interaction) ? {} : { switchAccountAction: `${action}/switch` }),
        account: { name: user.name, email: user.email },
        belongs: choice.kind === 'none' ? 'nowhere' : choice.kind === 'stranger' ? 'elsewhere' : 'here',
        organizations: choice.kind === 'ask' ? choice.among.map(({ id, name, kind }) => ({ id, name, kind })) : [],
        problems,
      },
      {
        client,
        signedInAs: user.email,
        uiLocales: interaction.params.ui_locales as string | undefined,
        status: problems.length ? 400 : 200,
      },
    );
  };

  return {
    show: async (ctx, interaction) => {
      const loaded = await load(interaction);
      const { choice, user } = loaded;
      // They have joined, or left all but one, since they were asked.
      if (choice.kind === 'chosen') return { [organizationPrompt]: { id: choice.organization.id, accountId: user.id } };
      show(ctx, interaction, loaded);
      return undefined;
    },

    submit: async (ctx, interaction) => {
      const loaded = await load(interaction);
      const { choice, user } = loaded;
      if (choice.kind === 'none' || choice.kind === 'stranger') return refused;
      const among = choice.kind === 'ask' ? choice.among : [choice.organization];
      const { organization: id } = pages.form(ctx, ChoiceForm);
      if (among.some((one) => one.id === id))
        return { [organizationPrompt]: { id, accountId: user.id } satisfies Partial<OrganizationAnswer> };
      show(ctx, interaction, loaded, [{ code: 'organizationNotYours' }]);
      return undefined;
    },
  };
};
