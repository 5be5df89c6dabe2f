const paths = {
  playground: 'M4 5h16v11H9l-5 4z',
  live: 'M3 12h4l3-8 4 16 3-8h4',
  requests: 'M5 6h14M5 12h14M5 18h9',
  models: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9',
  keys: 'M14.5 9.5a4 4 0 1 0-4 4 4 4 0 0 0 2-.5l1.5 1.5H16V16h1.5v2H21v-3l-7-7',
  filters: 'M4 5h16l-6 8v6l-4-2v-4z',
  settings: 'M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4',
  quality: 'M4 19V9M10 19V5M16 19v-7M21 19H3',
  sun: 'M12 4V2M12 22v-2M4 12H2M22 12h-2M6 6L5 5M19 19l-1-1M6 18l-1 1M19 5l-1 1M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  up: 'M7 21V10l5-8c2 0 2.5 1.5 2 3.5L13 9h6c1.5 0 2 1 1.700 2.300l-1.5 7c-.3 1.200-1 1.700-2 1.700z',
  down: 'M17 3v11l-5 8c-2 0-2.5-1.5-2-3.5l1-3.5H5c-1.5 0-2-1-1.700-2.300l1.5-7C5.100 4.5 5.800 4 6.800 4z',
  sliders: 'M5 4v6M5 14v6M12 4v10M12 18v2M19 4v2M19 10v10M2.5 12h5M9.5 16h5M16.5 8h5',
} as const;

export const Icon = ({ name }: { name: keyof typeof paths }) => (
  <svg
    viewBox="0 0 24 24"
    fill="none"
    stroke="currentColor"
    stroke-width="1.8"
    stroke-linecap="round"
    stroke-linejoin="round"
    aria-hidden="true"
  >
    <path d={paths[name]} />
  </svg>
);
