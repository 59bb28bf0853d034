/** An object of ours should have this name, but a stranger's has it. Nothing was written. */
export class NameConflict extends Error {}

/** The world moved on while we looked: observe again. Nothing was lost. */
export class Superseded extends Error {}
