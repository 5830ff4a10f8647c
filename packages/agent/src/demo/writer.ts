export const writer = (_: ReadonlyArray<string>): Promise<void> => Promise.resolve()
