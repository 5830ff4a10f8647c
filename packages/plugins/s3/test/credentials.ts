// Credentials where AWS's default chain finds them first, and nothing else of the machine's own. Holds no test.
export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export const provideCredentials = ({ accessKeyId, secretAccessKey }: Credentials): void => {
  Object.assign(process.env, {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONFIG_FILE: "/nonexistent",
    AWS_SHARED_CREDENTIALS_FILE: "/nonexistent",
  })
  delete process.env["AWS_SESSION_TOKEN"]
  delete process.env["AWS_PROFILE"]
}
