// The part of Jenkins' pipeline language that bg's examples use, so that they run
// without a Jenkins: declarative pipelines and scripted ones with a library. `sh`
// runs for real. What it is asked to do, and what became of it, are JSON files.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper

class Aborted extends Exception { Aborted(String m) { super(m) } }

class Build {
    Map order                     // what the harness was asked for
    Map variables = [:]           // env
    List stages = []              // those that ran, in order
    List archived = []
    String result = 'SUCCESS'
    String reason = ''
    String stage = ''
    String dir
    Map params = [:]

    void fail(Throwable t) {
        if (result == 'SUCCESS') {
            result = t instanceof Aborted ? 'ABORTED' : 'FAILURE'
            reason = t.message
        }
    }

    // sh runs a script as Jenkins does, by sh -xe, in a process group of its own
    // that an abort of the build ends with SIGTERM.
    def sh(args) {
        Map options = args instanceof Map ? args : [script: args]
        def builder = new ProcessBuilder('setsid', '--wait', 'sh', '-xec', options.script.toString())
        builder.directory(new File(dir))
        variables.each { k, v -> builder.environment().put(k.toString(), v.toString()) }
        builder.redirectError(ProcessBuilder.Redirect.INHERIT)
        if (!options.returnStdout) { builder.redirectOutput(ProcessBuilder.Redirect.INHERIT) }
        def process = builder.start()
        boolean stopped = false
        if (order.abortStage == stage) {
            Thread.start {
                def marker = new File(order.abortMarker.toString())
                while (process.isAlive() && !marker.exists()) { Thread.sleep(20) }
                if (process.isAlive()) {
                    stopped = true
                    process.descendants().each { it.destroy() }
                }
            }
        }
        String out = options.returnStdout ? process.inputStream.text : ''
        int code = process.waitFor()
        if (stopped) { throw new Aborted("aborted in ${stage}") }
        if (code != 0 && !options.returnStatus) { throw new Exception("script returned exit code ${code}") }
        return options.returnStatus ? code : out
    }

    void input(args) {
        println "input: ${args instanceof Map ? args.message : args}"
        if (order.reject) { throw new Aborted('rejected by a person') }
    }

    String credential(id) {
        def secret = (order.credentials ?: [:])[id]
        if (secret == null) { throw new Exception("no credentials ${id}") }
        return secret
    }

    void inStage(String name, Closure body) {
        stage = name
        println "stage: ${name}"
        stages << name
        body()
    }
}

// Steps are the words that a script may say anywhere.
class Steps {
    Build build
    Map library = [:]

    def sh(args) { build.sh(args) }
    def echo(text) { println text }
    def error(text) { throw new Exception(text.toString()) }
    def input(args) { build.input(args) }
    def script(Closure body) { run(body) }
    def archiveArtifacts(Map args) {
        def file = new File(build.dir, args.artifacts)
        if (file.exists()) { build.archived << args.artifacts } else if (!args.allowEmptyArchive) { error("no ${args.artifacts}") }
    }
    def dir(String name, Closure body) {
        def before = build.dir
        build.dir = new File(name).isAbsolute() ? name : new File(before, name).path
        try { run(body) } finally { build.dir = before }
    }
    def string(Map args) { args }
    def withCredentials(List bindings, Closure body) {
        bindings.each { build.variables[it.variable] = build.credential(it.credentialsId) }
        try { run(body) } finally { bindings.each { build.variables.remove(it.variable) } }
    }
    def node(Closure body) { run(body) }
    def stage(String name, Closure body) { build.inStage(name) { run(body) } }
    def getParams() { build.params }
    def getEnv() { new Env(build: build) }
    def methodMissing(String name, args) {
        def found = library[name]
        if (found == null) { throw new MissingMethodException(name, Steps, args as Object[]) }
        return found.call(*args)
    }
    def propertyMissing(String name) {
        if (library.containsKey(name)) { return library[name] }
        if (build.variables.containsKey(name)) { return build.variables[name] }
        throw new MissingPropertyException(name, Steps)
    }
    def run(Closure body) {
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body()
    }
}

class Env {
    Build build
    def getProperty(String name) { name == 'build' ? this.@build : this.@build.variables[name] }
    void setProperty(String name, value) { if (name == 'build') { this.@build = value } else { this.@build.variables[name] = value } }
}

// Pipeline reads `pipeline { … }`. As Jenkins does, it knows the whole before it
// runs any of it.
class Pipeline {
    Steps steps
    List stages = []
    Map post = [:]
    List environment = []

    static void read(Closure body, Object delegate) {
        body.delegate = delegate
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body()
    }
    void agent(any) {}
    def getAny() { 'any' }
    void options(Closure c) {}
    void parameters(Closure c) { read(c, new Parameters(build: steps.build)) }
    void environment(Closure c) { environment << c }
    void stages(Closure c) { read(c, this) }
    void stage(String name, Closure c) {
        def s = new Stage(name: name)
        read(c, s)
        stages << s
    }
    void post(Closure c) { read(c, new Post(into: post)) }

    void run() {
        def build = steps.build
        try {
            environment.each { read(it, new Environment(build: build)) }
            stages.each { s ->
                if (s.condition == null || steps.run(s.condition)) { build.inStage(s.name) { steps.run(s.body) } }
            }
        } catch (Throwable t) {
            build.fail(t)
            println "${build.result}: ${t.message}"
        }
        after()
    }

    // after runs the post blocks in Jenkins' order.
    void after() {
        def build = steps.build
        build.stage = 'post'
        def wanted = ['always', build.result.toLowerCase()]
        if (build.result != 'SUCCESS') { wanted << 'unsuccessful' }
        ['always', 'success', 'failure', 'aborted', 'unsuccessful', 'cleanup'].each { name ->
            if (post[name] != null && (name in wanted || name == 'cleanup')) {
                try { steps.run(post[name]) } catch (Throwable t) {
                    println "post ${name}: ${t.message}"
                    build.result = 'FAILURE'
                    build.reason += "; post ${name}: ${t.message}"
                }
            }
        }
    }
}

class Stage {
    String name
    Closure body, condition
    void steps(Closure c) { body = c }
    void when(Closure c) { Pipeline.read(c, this) }
    void expression(Closure c) { condition = c }
}

class Post {
    Map into
    def methodMissing(String name, args) { into[name] = args[0] }
}

class Parameters {
    Build build
    void string(Map p) { add(p) }
    void booleanParam(Map p) { add(p) }
    private void add(Map p) {
        if (!build.params.containsKey(p.name)) { build.params[p.name] = p.defaultValue }
        build.variables[p.name] = build.params[p.name] // Jenkins makes variables of them
    }
}

class Environment {
    Build build
    def credentials(String id) { build.credential(id) }
    def getProperty(String name) { name == 'build' ? this.@build : this.@build.variables[name] }
    void setProperty(String name, value) {
        if (name == 'build') { this.@build = value } else if (!this.@build.variables.containsKey(name)) { this.@build.variables[name] = value }
    }
}

def order = new JsonSlurper().parse(new File(args[0]))
def build = new Build(order: order, dir: order.dir, variables: new HashMap(order.variables ?: [:]), params: new HashMap(order.params ?: [:]))
def steps = new Steps(build: build)

// A script finds the steps where Jenkins has them: as its own methods.
def load = { File file ->
    def text = file.text.replaceAll(/(?m)^@Library\(.*\) _$/, '')
    def s = new GroovyShell(this.class.classLoader).parse(text, file.name.replaceAll(/[^A-Za-z0-9]/, '_') + '.groovy')
    s.metaClass.methodMissing = { String name, a -> steps.invokeMethod(name, a) }
    s.metaClass.propertyMissing = { String name -> steps.getProperty(name) }
    return s
}
(new File(order.library ?: '/nonexistent').listFiles() ?: []).each { steps.library[it.name.replace('.groovy', '')] = load(it) }
def script = load(new File(order.file))
script.metaClass.pipeline = { Closure body ->
    def p = new Pipeline(steps: steps)
    Pipeline.read(body, p)
    p.run()
}
try { script.run() } catch (Throwable t) {
    build.fail(t)
    println "${build.result}: ${t.message}"
}
new File(order.into).text = JsonOutput.toJson([result: build.result, reason: build.reason, stages: build.stages, archived: build.archived])
