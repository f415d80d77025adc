/** What may be asked about what somebody may do: the forms of a question, and what each one means. */
import { z } from 'zod';
import { partsOf } from '../roles/permissions.ts';

/** Names of types, actions and ids: whoever enforces policies elsewhere has their own. */
const Text = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(/^\P{Cc}*$/u, 'must not contain control characters');
const Properties = z.record(z.string().max(200), z.unknown());

export const subjectTypes = ['user', 'client', 'api_key'] as const;

const SubjectObject = z.object({
  type: Text(64).meta({
    description: '`user`, `client` or `api_key`; nobody is known of another type',
    example: 'user',
  }),
  id: Text(200).meta({ example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f' }),
  properties: Properties.optional().meta({ description: 'What policies may ask about the subject' }),
});

const ActionObject = z.object({
  name: Text(120).meta({ example: 'read' }),
  properties: Properties.optional().meta({ description: 'What policies may ask about the action' }),
});

const ResourceObject = z.object({
  type: Text(64).meta({ description: 'The first part of a permission, or a type of your own', example: 'documents' }),
  id: Text(200).optional().meta({ example: '42' }),
  owner: Text(200).optional().meta({ description: 'The user whose it is; of our own things it is looked up' }),
  organization: z
    .union([Text(200), z.array(Text(200)).max(50)])
    .optional()
    .meta({ description: 'The organization that it belongs to, or all of them; of our own things it is looked up' }),
  properties: Properties.optional().meta({ description: 'What policies may ask about it; not of our own things' }),
});

const Context = Properties.meta({
  description:
    'What policies may ask about the moment, such as `address`, `acr`, `risk` and `organization`. The time is this server’s, and about oneself the address, `acr` and risk are those of the request',
});

/** One question. */
export const Check = z
  .object({
    subject: z.union([Text(200).meta({ description: 'The id of a user' }), SubjectObject]),
    action: z
      .union([Text(180).meta({ description: 'Its name, or a permission such as `users:read:any`' }), ActionObject])
      .meta({ example: 'read' }),
    resource: z
      .union([Text(64).meta({ description: 'Its type' }), ResourceObject])
      .optional()
      .meta({ description: 'Left out where the action is a permission' }),
    context: Context.optional(),
  })
  .refine(({ action, resource }) => resource !== undefined || permissionIn(action) !== undefined, {
    message: 'a resource is needed, or a permission such as users:read:any',
    path: ['resource'],
  })
  .meta({
    id: 'AuthorizationCheck',
    example: { subject: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f', action: 'users:read:any' },
  });
export type CheckInput = z.output<typeof Check>;

/** OpenID AuthZEN Authorization API 1.0, sections 5.1 to 5.4. */
export const AuthzenSubject = SubjectObject.meta({ id: 'AuthzenSubject' });
export const AuthzenAction = ActionObject.meta({ id: 'AuthzenAction' });
export const AuthzenResource = z
  .object({ type: ResourceObject.shape.type, id: Text(200), properties: Properties.optional() })
  .meta({
    id: 'AuthzenResource',
    description:
      '`properties` may tell `owner` and `organization`, except of our own things, of which they are looked up',
  });
export const AuthzenContext = Context.meta({ id: 'AuthzenContext' });

/** A permission that an action is written as; its scope may be left out. */
const permissionIn = (action: string | { name: string }): string[] | undefined => {
  const name = typeof action === 'string' ? action : action.name;
  const full = name.split(':').length === 2 ? `${name}:any` : name;
  return partsOf(full) ? name.split(':') : undefined;
};

/** A question in its one form. */
export interface NormalCheck {
  subject: { type: string; id: string; properties?: Record<string, unknown> | undefined };
  action: string;
  actionProperties?: Record<string, unknown> | undefined;
  resource: {
    type: string;
    id?: string | undefined;
    owner?: string | undefined;
    organizations: readonly string[];
    every?: boolean | undefined;
    /** Of a recorded question: what it says was found out, and not told by anybody. */
    isKnown?: boolean;
    properties?: Record<string, unknown> | undefined;
  };
  /** The scope of a permission that was asked for by name. */
  scope?: string | undefined;
  context: Record<string, unknown>;
}

/** Ids of ours are compared with one another, and are written in one way. */
const oneSpelling = (id: string): string => (z.uuid().safeParse(id).success ? id.toLowerCase() : id);

const ownerOf = ({ owner, properties }: z.output<typeof ResourceObject>): string | undefined => {
  const told = owner ?? properties?.owner;
  return typeof told === 'string' ? told : undefined;
};

const organizationsOf = ({ organization, properties }: z.output<typeof ResourceObject>): string[] =>
  [organization ?? properties?.organization ?? []]
    .flat()
    .filter((id): id is string => typeof id === 'string')
    .slice(0, 50);

export const normalize = ({ subject, action, resource, context = {} }: CheckInput): NormalCheck => {
  const verb = typeof action === 'string' ? { name: action } : action;
  const named = permissionIn(action);
  const thing = typeof resource === 'string' ? { type: resource } : (resource ?? { type: named?.[0] ?? '' });
  const owner = ownerOf(thing);
  // `users:read` of a resource of the type `users` is `read`.
  const isPermission = named !== undefined && (resource === undefined || named[0] === thing.type);
  return {
    subject:
      typeof subject === 'string'
        ? { type: 'user', id: oneSpelling(subject) }
        : { ...subject, id: subject.type === 'client' ? subject.id : oneSpelling(subject.id) },
    action: isPermission ? (named[1] as string) : verb.name,
    ...('properties' in verb ? { actionProperties: verb.properties } : {}),
    resource: {
      type: thing.type,
      id: thing.id === undefined ? undefined : oneSpelling(thing.id),
      owner: owner === undefined ? undefined : oneSpelling(owner),
      organizations: organizationsOf(thing).map(oneSpelling),
      properties: thing.properties,
    },
    ...(isPermission ? { scope: named[2] } : {}),
    context,
  };
};
