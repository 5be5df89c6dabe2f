/** What is used of jose, by name: an `import()` of the package itself would bring all of it into the worker. */
export { createRemoteJWKSet, jwtVerify } from 'jose';
