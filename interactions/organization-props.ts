/** What the page is given on which somebody chooses the organization that they sign in for. */
import type { Problem } from './view-props.ts';

/** Posts `organization`, or nothing where there is none to choose; POST `cancelAction` goes back as well. */
export interface OrganizationView {
  action: string;
  cancelAction: string;
  account: { name: string; email: string };
  /** `nowhere`: to no organization; `elsewhere`: not to the one that the app wants. */
  belongs: 'here' | 'nowhere' | 'elsewhere';
  organizations: { id: string; name: string; kind: 'organization' | 'company' }[];
  switchAccountAction?: string;
  problems: Problem[];
}

export interface OrganizationViews {
  organization: OrganizationView;
}
