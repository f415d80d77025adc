/** The scopes of OpenID Connect that people consent to; any other scope belongs to a resource. */
export const standardScopes = ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'];

/** Ours: what somebody may do and where they belong. Each asks for the claim of its name. */
export const authorizationScopes = ['roles', 'permissions', 'groups', 'organizations'] as const;

export const identityScopes: readonly string[] = [...standardScopes, ...authorizationScopes];
