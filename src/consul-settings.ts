/** The settings of the registration with Consul, under the names that Consul's own programs have for them. */
import { z } from 'zod';
import { list } from './setting-kinds.ts';

export const consulSettings = {
  CONSUL_ADDR: z
    .url({ protocol: /^https?$/, error: 'expected http://… or https://…' })
    .optional()
    .meta({
      description: 'Consul agent to register with at start and deregister from at stop (docs/deployment.md)',
    }),
  CONSUL_HTTP_TOKEN: z.string().min(1).optional().meta({
    description: 'ACL token for the agent: `service:write` for CONSUL_SERVICE_NAME is all that it needs',
  }),
  CONSUL_SERVICE_NAME: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'expected a name that DNS takes, such as countersign')
    .default('countersign')
    .meta({ description: 'Under which name other services find this one' }),
  CONSUL_TAGS: list.default([]).meta({ description: 'Tags of the registration, separated by commas' }),
  CONSUL_CACERT: z.string().min(1).optional().meta({
    description: 'PEM file with the authority of an https agent, where the system does not know it',
  }),
  CONSUL_CLIENT_CERT: z.string().min(1).optional().meta({
    description: 'PEM file with the certificate to show to an agent that asks for one (`verify_incoming`)',
  }),
  CONSUL_CLIENT_KEY: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'PEM file with the private key of CONSUL_CLIENT_CERT' }),
};

type ConsulValues = Partial<z.output<z.ZodObject<typeof consulSettings>>>;

/** What does not go together. */
export const consulMistakes = (values: ConsulValues): string[] => {
  const { CONSUL_ADDR, CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY } = values;
  const mistakes: string[] = [];
  if (CONSUL_CLIENT_CERT && !CONSUL_CLIENT_KEY) mistakes.push('CONSUL_CLIENT_KEY: is needed with CONSUL_CLIENT_CERT');
  if (CONSUL_CLIENT_KEY && !CONSUL_CLIENT_CERT) mistakes.push('CONSUL_CLIENT_CERT: is needed with CONSUL_CLIENT_KEY');
  if ((CONSUL_CACERT || CONSUL_CLIENT_CERT) && !CONSUL_ADDR?.startsWith('https:'))
    mistakes.push('CONSUL_ADDR: must be https with CONSUL_CACERT or CONSUL_CLIENT_CERT');
  return mistakes;
};
