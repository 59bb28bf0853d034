export { stopSharedCluster as default } from './shared.ts';
