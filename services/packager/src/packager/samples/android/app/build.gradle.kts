// The wrapper's sources and the model are taken from the package that this app lies in; nothing is copied by hand.
import groovy.json.JsonSlurper

plugins { id("com.android.application") }

val unpacked = rootDir.resolve("../..")
val wrapper = unpacked.resolve("runtimes/kotlin")
val metadata = JsonSlurper().parse(unpacked.resolve("metadata.json")) as Map<*, *>
val modelFile = metadata["model_file"] as String
val (backend, runtime) = when (val format = (metadata["model_info"] as Map<*, *>)["export_format"]) {
    "onnx" -> "OnnxRuntime" to "com.microsoft.onnxruntime:onnxruntime-android:1.29.0"
    "tflite" -> "LiteRt" to "com.google.ai.edge.litert:litert:2.1.5"
    else -> error("a model of the format $format does not run on Android")
}

android {
    namespace = "modelport.sample"
    compileSdk = 36

    defaultConfig {
        applicationId = "modelport.sample"
        minSdk = 24
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
    }
    buildTypes {
        release {
            isMinifyEnabled = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
        }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    androidResources { noCompress += listOf("onnx", "tflite") }
}

val takeWrapper = tasks.register<Sync>("takeWrapper") {
    from(wrapper) {
        include("ModelWrapper.kt", "processing/**", "platform/Android*.kt", "backends/Backend.kt", "backends/$backend.kt")
    }
    into(layout.buildDirectory.dir("generated/wrapper"))
}

val takeModel = tasks.register<Sync>("takeModel") {
    from(unpacked.resolve(modelFile), unpacked.resolve("metadata.json")) // not the folder, which this build writes into
    into(layout.buildDirectory.dir("generated/model"))
}

android.sourceSets.named("main") {
    kotlin.directories += layout.buildDirectory.dir("generated/wrapper").get().asFile.path
    assets.directories += layout.buildDirectory.dir("generated/model").get().asFile.path
}

tasks.named("preBuild") { dependsOn(takeWrapper, takeModel) }

dependencies { implementation(runtime) }
