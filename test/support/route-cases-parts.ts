/** The files that have rows for REST operations, a line for each; `route-cases.ts` puts them together. */
export { enrolmentCases } from './route-cases-enrolment.ts';
export { factorCases } from './route-cases-factors.ts';
export { groupCases } from './route-cases-groups.ts';
export { joiningCases } from './route-cases-joining.ts';
export { organizationCases } from './route-cases-organizations.ts';
export { passkeyCases } from './route-cases-passkeys.ts';
export { policyCases } from './route-cases-policies.ts';
export { rbacCases } from './route-cases-rbac.ts';
