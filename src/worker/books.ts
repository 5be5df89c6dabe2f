/** What only a worker with a database uses: its tables, what is booked in them, and keys and reports over HTTP. */
export { adminRoutes } from '../admin-routes.ts';
export { createBookkeeper } from '../edge/bookkeeper.ts';
export { d1 } from '../ledger/d1.ts';
export { openTables } from '../ledger/ledger.ts';
