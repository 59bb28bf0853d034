export { startSharedCluster as default } from './shared.ts';
