/** Business domains as REST takes and shows them. */
import { z } from 'zod';
import { ListQuery } from '../http/lists.ts';
import { Id, Time } from '../http/schemas.ts';
import type { Domain as Row } from './domains.queries.ts';

const text = (max: number) =>
  z
    .string()
    .trim()
    .max(max)
    .regex(/^\P{C}*$/u, 'must not contain control characters');
const Name = text(100).min(1).meta({ example: 'Marketing' });
const Description = text(1000).meta({ description: 'May be empty', example: 'Everything that customers see' });
const ParentId = Id.nullable().meta({ description: 'The domain that it is a part of' });
const isId = (text: string) => z.uuid().safeParse(text).success;
const Key = z
  .string()
  .max(60)
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'expected small letters, digits and single hyphens')
  // What a path could mean otherwise.
  .refine((key) => key !== 'all' && !isId(key), 'is taken')
  .meta({ description: 'What programs call it; it cannot be changed', example: 'marketing' });
/** A domain as paths and bodies name it. */
export const DomainReference = z
  .string()
  .max(60)
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/i, 'expected an id or a key')
  .meta({ description: 'Its id or its key', example: 'marketing' });

export const Domain = z
  .object({
    id: Id,
    key: z.string().meta({ example: 'marketing' }),
    name: z.string().meta({ example: 'Marketing' }),
    description: z.string().meta({ example: 'Everything that customers see' }),
    parentId: ParentId,
    isActive: z.boolean().meta({ example: true }),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'Domain' });

export const ListedDomain = Domain.extend({
  get children() {
    return z.array(ListedDomain).optional().meta({ description: 'Its parts, where trees were asked for', example: [] });
  },
}).meta({ id: 'ListedDomain' });

export const CreateDomain = z
  .object({
    key: Key,
    name: Name,
    description: Description.default(''),
    parentId: ParentId.default(null),
    isActive: z.boolean().default(true).meta({ example: true }),
  })
  .meta({ id: 'CreateDomain' });

export const ChangeDomain = z
  .object({
    name: Name.optional(),
    description: Description.optional(),
    parentId: ParentId.optional(),
    isActive: z.boolean().optional().meta({ example: false }),
  })
  .meta({ id: 'ChangeDomain' });

const flag = () =>
  z
    .enum(['true', 'false'])
    .transform((flag) => flag === 'true')
    .optional();
export const DomainSearch = ListQuery.extend({
  parentId: Id.optional().meta({ description: 'Those that are right beneath it' }),
  tree: flag().meta({
    description: 'Each with what is beneath it in `children`; `limit` is how many that lie beneath no other',
    example: 'true',
  }),
});
export const AllDomainSearch = ListQuery.extend({
  parentId: Id.optional().meta({ description: 'Those that are right beneath it' }),
  isActive: flag().meta({ example: 'false' }),
});

export const domainParams = z.object({ id: DomainReference });

export const toDomain = ({ createdAt, updatedAt, ...domain }: Row) => ({
  ...domain,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});
