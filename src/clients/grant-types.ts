/** Names of grant types that are longer than their meaning. */

/** RFC 8628 section 3.4. */
export const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';
/** OpenID Connect CIBA Core section 10.1. */
export const cibaGrant = 'urn:openid:params:grant-type:ciba';
/** RFC 8693 section 2.1. */
export const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** RFC 7523 section 2.1. */
export const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
