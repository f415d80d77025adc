/** The scopes of OpenID Connect that people consent to; any other scope belongs to a resource. */
export const identityScopes = ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'];
