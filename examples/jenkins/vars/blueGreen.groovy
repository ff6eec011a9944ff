// Blue/green deployments with bg, a stage for each step.
//
//   blueGreenDeploy(service: 'books-ms', image: 'registry:5000/books-ms:1.4')
//   blueGreenDeploy(service: 'books-ms', image: '…', dir: 'deploy', approve: true, credentials: 'consul-token')
//
// service      the service, required
// image        the image, or tag for another tag of the Compose file's image
// dir          the folder of bg.yml, default the workspace
// approve      asks a person before the switch, default false
// credentials  the id of a secret text, Consul's token
// bg           the program, default `env bg`: in a shell, bg alone is a builtin

def blueGreenDeploy(Map args) {
    def known = ['service', 'image', 'tag', 'dir', 'approve', 'credentials', 'bg']
    def unknown = args.keySet() - known
    if (unknown) { error "blueGreenDeploy: unknown ${unknown.join(', ')}; known are ${known.join(', ')}" }
    if (!args.service) { error 'blueGreenDeploy: the service is missing' }
    dir(args.dir ?: '.') {
        if (args.credentials) {
            withCredentials([string(credentialsId: args.credentials, variable: 'CONSUL_HTTP_TOKEN')]) { stages(args) }
        } else {
            stages(args)
        }
    }
}

// stages deploys, and leaves nothing paused when a stage fails or the build is
// aborted: by its id, so that no other build's deployment is touched.
def stages(Map args) {
    def id = null
    try {
        stage('Start') {
            def said = sh(returnStdout: true, script: command(args, "deploy ${quote(args.service)}${version(args)} --until start"))
            id = (said =~ /\d{8}-\d{6}-[0-9a-f]{4}/)[0]
        }
        stage('Register') { sh command(args, resume(args, id, ' --until register')) }
        stage('Pre tests') { sh command(args, resume(args, id, ' --until pretest')) }
        if (args.approve) {
            stage('Approval') { input message: "${args.service} is tested. Make it live?", ok: 'Make it live' }
        }
        stage('Switch') { sh command(args, resume(args, id, ' --until switch')) }
        stage('Post tests') { sh command(args, resume(args, id, ' --until posttest')) }
        stage('Commit') { sh command(args, resume(args, id, '')) }
    } catch (failure) {
        if (id) { sh command(args, "abort ${quote(args.service)} --deployment ${id}") }
        throw failure
    }
}

String command(Map args, String words) { (args.bg ?: 'env bg') + ' ' + words }

String resume(Map args, String id, String until) { "resume ${quote(args.service)} --deployment ${id}${until}" }

String version(Map args) {
    (args.image ? " --image ${quote(args.image)}" : '') + (args.tag ? " --tag ${quote(args.tag)}" : '')
}

// quote keeps a value one word of the shell.
String quote(value) { "'" + value.toString().replace("'", "'\\''") + "'" }
