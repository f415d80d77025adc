/** Groups and those in them, as REST takes and shows them. */
import { z } from 'zod';
import { ListQuery } from '../http/lists.ts';
import { Id, Time } from '../http/schemas.ts';
import type { Group as Row } from './groups.queries.ts';

const text = (max: number) =>
  z
    .string()
    .trim()
    .max(max)
    .regex(/^\P{C}*$/u, 'must not contain control characters');
const Name = text(100).min(1).meta({ example: 'Engineering' });
const Description = text(1000).meta({ description: 'May be empty', example: 'Builds and runs the shop' });
const ExternalRef = text(255).min(1).nullable().meta({
  description: 'What it is called in another system; it need not be unique',
  example: 'jira:ENG',
});
const Kind = z.enum(['group', 'team']).meta({ example: 'team' });
const OrganizationId = Id.nullable().meta({
  description:
    'The organization that it is of, as is every group above and beneath it; null: of none, and open to people of any',
});
const ParentId = Id.nullable().meta({
  description: 'The group that it lies beneath, and that passes its roles down to it',
});

export const Group = z
  .object({
    id: Id,
    kind: Kind,
    name: z.string().meta({ example: 'Engineering' }),
    description: z.string().meta({ example: 'Builds and runs the shop' }),
    parentId: ParentId,
    organizationId: OrganizationId,
    externalRef: z.string().nullable().meta({ example: 'jira:ENG' }),
    isActive: z
      .boolean()
      .meta({ description: 'One that is not gives nothing, and passes nothing down', example: true }),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'Group' });

export const toGroup = ({ createdAt, updatedAt, ...group }: Row) => ({
  ...group,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});

const newTeam = {
  name: Name,
  description: Description.default(''),
  parentId: ParentId.default(null),
  organizationId: OrganizationId.optional().meta({
    description: 'Without it that of the group above, or none',
    example: null,
  }),
  externalRef: ExternalRef.default(null),
  isActive: z.boolean().default(true).meta({ example: true }),
};
export const CreateTeam = z.object(newTeam).meta({ id: 'CreateTeam' });
export const CreateGroup = z.object({ kind: Kind.default('group'), ...newTeam }).meta({ id: 'CreateGroup' });

export const ChangeGroup = z
  .object({
    name: Name.optional(),
    description: Description.optional(),
    parentId: ParentId.optional(),
    externalRef: ExternalRef.optional(),
    isActive: z.boolean().optional().meta({ example: false }),
  })
  .meta({ id: 'ChangeGroup' });

const Flag = z
  .enum(['true', 'false'])
  .transform((flag) => flag === 'true')
  .optional()
  .meta({ example: 'true' });

export const TeamSearch = ListQuery.extend({
  q: text(100).min(1).optional().meta({ description: 'The beginning of the name, in whatever case', example: 'eng' }),
  parentId: Id.optional().meta({ description: 'Those that lie right beneath it' }),
  ancestorId: Id.optional().meta({ description: 'Those that lie beneath it, at whatever depth' }),
  organizationId: Id.optional().meta({ description: 'Those of the organization' }),
  externalRef: text(255).min(1).optional().meta({ example: 'jira:ENG' }),
});
export const AllTeamSearch = TeamSearch.extend({ isActive: Flag });
export const GroupSearch = AllTeamSearch.extend({ kind: Kind.optional() });

export const GroupMember = z
  .object({
    id: Id.optional().meta({
      description: 'For those alone who may see the group by a wider permission than their place in it',
    }),
    name: z.string().meta({ example: 'Ada Lovelace' }),
    email: z.string().optional().meta({ description: 'Likewise', example: 'ada@example.com' }),
  })
  .meta({ id: 'GroupMember' });

export const AddGroupMember = z.object({ userId: Id }).meta({ id: 'AddGroupMember' });

export const groupParams = z.object({ id: Id });
export const memberParams = z.object({ id: Id, userId: Id });

/** Problems of giving people what a group has, or of taking it from them. */
export const passingOn = ['rank_too_low', 'exceeds_yours', 'session_needed'] as const;
