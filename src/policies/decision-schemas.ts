/** How decisions are told over REST. */
import { z } from 'zod';

/** The type `Because` of decide.ts. */
export const Because = z
  .object({
    rule: z.enum(['permission', 'denial', 'policy', 'scope', 'default', 'subject']).meta({
      description:
        'What decided: a permission that is held, or denied; a policy; the scope of the token, which does not go so far; nothing at all (`default`); that there is no such subject, or that it is not active',
      example: 'permission',
    }),
    permission: z.string().optional().meta({ description: 'The permission that is wanted', example: 'users:read:any' }),
    granted: z.string().optional().meta({ description: 'What gives or denies it', example: 'users:*:any' }),
    role: z.string().optional().meta({ description: 'The role that it comes from', example: 'admin' }),
    groupId: z.string().optional().meta({ description: 'The group that was given it' }),
    organizationId: z.string().optional().meta({ description: 'The organization that it is held in' }),
    policy: z.string().optional().meta({ description: 'The name of the policy', example: 'office-only' }),
    version: z.int().optional().meta({ example: 1 }),
    effect: z.enum(['allow', 'deny']).optional().meta({ example: 'deny' }),
    error: z.string().optional().meta({ description: 'Why the policy could not be evaluated, which denies' }),
  })
  .meta({ id: 'DecisionReason' });
