/** What is used of jose, by name: an `import()` of the package itself would bring all of it into the worker. */
export { importPKCS8, SignJWT } from 'jose';
