/** stub */
export const mutationRun = async (_: { readonly only: string }): Promise<number> => 0
